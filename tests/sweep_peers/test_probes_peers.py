"""Probes beside scikit-learn, MTEB and CLIP_benchmark, on features that are given."""

import contextlib
import io
import warnings

import numpy as np
import pytest
import torch
from clip_benchmark.metrics import linear_probe as theirs
from mteb.abstasks.classification import AbsTaskClassification
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from vlp.evals.probes.adamw import train
from vlp.evals.probes.draws import held_out, shots_in_turn
from vlp.evals.probes.linear import accuracy
from vlp.evals.probes.logistic import Logistic
from vlp.evals.probes.neighbours import nearest, votes
from vlp.evals.probes.search import peak


def samples(n, d, k, *, seed=0, apart=0.5):
    """Clouds that overlap; features of very different sizes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    x = apart * rng.normal(size=(k, d))[labels] + rng.normal(size=(n, d))
    return (x * np.geomspace(0.1, 3, d)).astype(np.float32), labels


@pytest.mark.parametrize("c", [1e-6, 1e-2, 0.316, 10.0, 1e4])
@pytest.mark.parametrize("n,d,k", [(300, 20, 2), (400, 30, 7), (50, 100, 5)])
def test_logistic_regression_is_scikit_learn_s(n, d, k, c):
    x, labels = samples(n, d, k)
    x = x.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = LogisticRegression(C=c, max_iter=2000, tol=1e-10).fit(x, labels)
    problem = Logistic(x, labels, num_classes=k, dtype="float64")
    (found,) = problem.fit([c], max_iter=2000, tolerance=1e-10)
    scores, own = found.head(x), expected.decision_function(x)
    if k == 2:
        np.testing.assert_allclose(scores[:, 1], own, atol=1e-4 * max(1, np.abs(own).max()))
    else:
        centred = scores - scores.mean(axis=1, keepdims=True)
        own = own - own.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(centred, own, atol=1e-4 * max(1, np.abs(own).max()))
    assert (scores.argmax(axis=1) == expected.predict(x)).all()


@pytest.mark.parametrize("steps", [1, 10, 40])
def test_where_iterations_do_not_suffice_both_are_at_the_same_place(steps):
    x, labels = samples(400, 30, 7)
    x = x.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = LogisticRegression(C=1e3, max_iter=steps).fit(x, labels)
    (found,) = Logistic(x, labels, num_classes=7, dtype="float64").fit([1e3], max_iter=steps)
    np.testing.assert_allclose(found.head.weights, expected.coef_.T, atol=1e-6)
    assert found.steps == expected.n_iter_[0]


def test_float32_at_the_usual_tolerance_is_as_near_as_scikit_learn_s_own_is_to_the_minimum():
    x, labels = samples(1000, 64, 10)
    for c in (1e-3, 0.316, 1.0):
        expected = LogisticRegression(C=c, max_iter=1000).fit(x[:500], labels[:500])
        exact = LogisticRegression(C=c, max_iter=1000, tol=1e-10)
        exact.fit(x[:500].astype(np.float64), labels[:500])
        (found,) = Logistic(x[:500], labels[:500], num_classes=10).fit([c])
        theirs = expected.predict(x[500:])
        others = (found.head(x[500:]).argmax(axis=1) != theirs).sum()
        assert others <= (theirs != exact.predict(x[500:])).sum() + 1 <= 3
        assert abs(found.steps - expected.n_iter_[0]) <= 3


class Drawn(AbsTaskClassification):
    """MTEB's draws of so many samples a label."""

    metadata = None
    samples_per_label = 4

    def __init__(self):
        self.seed = 42


class Labels(dict):
    """A data set of labels alone."""

    def __len__(self):
        return len(self["label"])

    def select(self, rows):
        return rows


def test_shots_are_the_samples_that_mteb_draws():
    labels = np.random.default_rng(0).integers(0, 6, 100)
    task, order = Drawn(), None
    expected = []
    for number in range(10):
        _, order, chosen = task._undersample_data(Labels(label=labels), number, order)
        expected.append(chosen)
    found = shots_in_turn(labels, shots=4, draws=10, seed=42)
    assert [rows.tolist() for rows in found] == expected


def test_few_shot_accuracies_are_those_of_mteb_s_classifier():
    x, labels = samples(400, 32, 6)
    test, own = samples(300, 32, 6)  # the same clouds
    for rows in shots_in_turn(labels, shots=8, draws=3, seed=42):
        expected = LogisticRegression(max_iter=100).fit(x[rows], labels[rows]).predict(test)
        (fit,) = Logistic(x[rows], labels[rows], num_classes=6).fit([1.0], max_iter=100)
        assert (fit.head(test).argmax(axis=1) == expected).mean() >= 0.996


def test_neighbours_and_votes_are_scikit_learn_s():
    x, labels = samples(300, 16, 5)
    test, _ = samples(100, 16, 5, seed=1)
    x, test = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, test))

    def weights(distances):
        return np.exp((1 - distances**2 / 2) / 0.07)  # of unit vectors

    model = KNeighborsClassifier(20, weights=weights, algorithm="brute").fit(x, labels)
    cosines, which = nearest(test, x, k=20)
    found = votes(cosines, labels[which], num_classes=5, temperature=0.07)
    shares = found / found.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, model.predict_proba(test), atol=1e-3)


@pytest.fixture
def on_cpu(monkeypatch):
    """Their probe, which asks for a GPU, without one."""

    class Cuda(str):
        """Says that it is a GPU and is none."""

        def __eq__(self, other):
            return other == "cuda" or str.__eq__(self, other)

        __hash__ = str.__hash__

    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self, *_: self)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self, *_: self)
    return Cuda("cpu")


class Same(torch.nn.Module):
    """A model whose pictures are features already."""

    def encode_image(self, x):
        return x


def theirs_on(parts, folder, device, **settings):
    """Metrics of clip_benchmark's linear probe."""
    loaders = [
        torch.utils.data.DataLoader(
            theirs.FeatureDataset(torch.from_numpy(x), torch.from_numpy(labels)), batch_size=64
        )
        for x, labels in parts
    ]
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with quiet[0], quiet[1], warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return theirs.evaluate(
            Same(), loaders[0], loaders[2], -1, 64, 0, 0.1, 10, "same", 0, str(folder), device,
            val_dataloader=loaders[1], amp=False, **settings,
        )  # fmt: skip


def test_adamw_scores_about_as_clip_benchmark_does(tmp_path, on_cpu):
    x, labels = samples(800, 32, 6, apart=0.35)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kept, held = held_out(600, share=0.2, seed=0)
    rest = np.arange(600, 800)
    parts = [(x[rows], labels[rows]) for rows in (kept, held, rest)]
    expected = theirs_on(parts, tmp_path, on_cpu)
    grid = np.logspace(-6, 2, 97)

    def heads(rows, decays):
        return train(x[rows], labels[rows], num_classes=6, decays=decays)

    def score(places):
        found = heads(kept, [float(grid[i]) for i in places])
        own = (accuracy(head, x[held], labels[held]) for head in found)
        return dict(zip(places, own, strict=True))

    (head,) = heads(np.concatenate([kept, held]), [float(grid[peak(97, score)])])
    # Another start and another order: comparable only roughly.
    assert accuracy(head, x[rest], labels[rest]) == pytest.approx(expected["lp_acc1"], abs=0.04)


def test_the_search_of_weight_decay_takes_the_steps_of_clip_benchmark(
    tmp_path, monkeypatch, on_cpu
):
    """Their loop and ours, over the same scores."""
    tried, curve = [], 0.5 + 0.4 * np.sin(np.arange(97) / 11 + 2)

    def find_peak(grid, places, *_):
        tried.extend(i for i in places if i not in tried)
        best, most = 0, 0
        for i in places:
            best, most = (i, curve[i]) if most < curve[i] else (best, most)
        return best

    def score(places):
        asked.extend(places)
        return {i: curve[i] for i in places}

    monkeypatch.setattr(theirs, "find_peak", find_peak)
    x, labels = samples(90, 4, 3)
    found = theirs_on([(x, labels)] * 3, tmp_path, on_cpu)
    asked: list[int] = []
    assert np.logspace(-6, 2, 97)[peak(97, score)] == found["weight_decay"]
    assert asked == tried
