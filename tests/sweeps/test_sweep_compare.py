"""Differences of two models: worked out by hand, and true of simulated ones."""

import numpy as np
import pytest

from data_pipelines.limits import LIMITS
from data_pipelines.sources import Source
from vlp.evals.measures import class_mean, quotient
from vlp.sweeps.compare import compare, paired
from vlp.sweeps.judged import Judged
from vlp.sweeps.samples import SampleStore


class Numbered(Source):
    """A source that has nothing but keys."""

    name, limits, fingerprint = "numbered", LIMITS, "f"

    def __len__(self):
        return 10

    def key(self, index):
        return str(index)


def shares(right, counted=None):
    right = np.asarray(right, float)
    return np.stack([right, np.ones(len(right)) if counted is None else np.asarray(counted, float)])


def row(model, *, step=None, metrics=("top1",), **changed):
    return {
        "key": f"{model}{step}", "model": model, "step": step, "set": "s", "split": "test",
        "task": "classification", "main": "top1", "settings": {}, "fingerprint": "f",
        "protocol": {"seed": 0, "prompts": "a"},
        "metrics": {name: {"value": 0.0} for name in metrics},
    } | changed  # fmt: skip


def keep(store, key, right, ids=None):
    ids = np.arange(len(right)) if ids is None else np.asarray(ids)
    right = np.asarray(right, bool)
    measures = {
        "top1": quotient(right),
        "mean_per_class_recall": class_mean(right, np.zeros(len(right), int), num_classes=1),
    }
    store.keep(key, Judged(measures, len(right), ids), pictures=Numbered())


def test_wins_losses_and_difference_are_those_counted_by_hand():
    found = paired(shares([1, 1, 1, 0]), shares([1, 0, 0, 1]), draws=50)
    assert found["values"] == (0.75, 0.5)
    assert found["difference"] == 0.25
    assert (found["wins"], found["losses"]) == (2, 1)
    assert found["low"] <= 0.25 <= found["high"]


def test_samples_count_as_often_as_they_have_captions():
    # 3 of 4 captions against 1 of 4, of pictures with 3 captions and 1; none of a third one.
    found = paired(shares([3, 0, 0], [3, 1, 0]), shares([0, 1, 0], [3, 1, 0]), draws=50)
    assert found["values"] == (0.75, 0.25)
    assert (found["wins"], found["losses"]) == (1, 1)


def test_one_model_differs_from_itself_by_nothing():
    found = paired(shares([1, 0, 1]), shares([1, 0, 1]), draws=20)
    assert (found["low"], found["high"], found["p"]) == (0.0, 0.0, 1.0)


def test_every_sample_better_leaves_no_doubt():
    found = paired(shares([1] * 9), shares([0] * 9), draws=99)
    assert (found["difference"], found["low"], found["high"]) == (1.0, 1.0, 1.0)
    assert found["p"] == pytest.approx(1 / 100)


def test_samples_are_drawn_as_if_each_were_one_of_n():
    rng = np.random.default_rng(0)
    first = np.stack([rng.integers(0, 4, 40), rng.integers(4, 6, 40)]).astype(float)
    second = np.stack([rng.integers(0, 4, 40), rng.integers(4, 6, 40)]).astype(float)
    found = paired(first, second, draws=4000)
    drawn = rng.integers(40, size=(4000, 40))
    one_by_one = [first[0][i].sum() / first[1][i].sum() for i in drawn]
    one_by_one -= np.array([second[0][i].sum() / second[1][i].sum() for i in drawn])
    ends = np.percentile(one_by_one, (2.5, 97.5))
    np.testing.assert_allclose((found["low"], found["high"]), ends, atol=0.012)


def simulate(first, second, *, times, n=150):
    """Paired results of two models that are right together more often than by chance."""
    for seed in range(times):
        rng = np.random.default_rng(seed)
        both = rng.random(n)
        noise = rng.normal(0, 0.15, (2, n))
        yield paired(
            shares(both + noise[0] < first), shares(both + noise[1] < second), draws=200, seed=seed
        )


def test_the_interval_holds_the_true_difference_in_about_95_of_100_simulations():
    big = np.random.default_rng(1)
    both, noise = big.random(10**6), big.normal(0, 0.15, (2, 10**6))
    truth = np.mean(both + noise[0] < 0.6) - np.mean(both + noise[1] < 0.5)
    held = [f["low"] <= truth <= f["high"] for f in simulate(0.6, 0.5, times=400)]
    assert 0.925 <= np.mean(held) <= 0.975


def test_equal_models_seem_to_differ_in_about_5_of_100_simulations():
    found = [f["p"] < 0.05 for f in simulate(0.5, 0.5, times=400)]
    assert 0.03 <= np.mean(found) <= 0.08


def test_samples_that_one_alone_has_are_left_out_and_counted(tmp_path):
    store = SampleStore(tmp_path)
    keep(store, "a1", [1, 1, 0, 1], ids=[0, 1, 2, 3])
    keep(store, "b1", [0, 1, 1], ids=[3, 1, 9])
    rows = [row("a", step=1), row("b", step=1)]
    (found,) = compare(rows, store, first=("a", 1), others=[("b", 1)], draws=10).differences
    assert found.values == (1.0, 0.5)
    assert (found.samples, found.unmatched, found.wins, found.losses) == (2, 3, 1, 0)
    assert (found.first, found.second, found.main) == ("a@1", "b@1", True)


def test_metrics_that_are_no_quotients_of_samples_are_not_compared(tmp_path):
    store, metrics = SampleStore(tmp_path), ("top1", "mean_per_class_recall")
    rows = [row("a", metrics=metrics), row("b", metrics=metrics)]
    for each in rows:
        keep(store, each["key"], [1, 0])
    found = compare(rows, store, first=("a", None), others=[("b", None)], draws=10)
    assert [each.metric for each in found.differences] == ["top1"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fingerprint": "g"}, "their data are not the same"),
        ({"settings": {"limit": 5}}, "other settings"),
        ({"protocol": {"seed": 0, "prompts": "c"}}, "the same protocol, theirs differ in prompts;"),
        ({"protocol": {"seed": 1, "prompts": "a"}}, "theirs differ in seed; sweep both again"),
        ({"failed": "no"}, "one of them failed"),
        ({"key": "nowhere"}, "nothing is kept"),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path, changed, said):
    store = SampleStore(tmp_path)
    rows = [row("a"), row("b") | changed]
    keep(store, "aNone", [1, 0])
    keep(store, "bNone", [1, 0])
    found = compare(rows, store, first=("a", None), others=[("b", None)], draws=10)
    assert not found.differences
    assert said in found.notes[0]
