"""Metrics of classes beside scikit-learn's, on samples that count any number of times."""

import numpy as np
import pytest

from vlp.evals.average_precision import mean_average_precision
from vlp.evals.gains import ndcg, places
from vlp.evals.measures import class_mean, macro_f1
from vlp.evals.questions import jaccard, picked

sklearn = pytest.importorskip("sklearn.metrics")
K = 7


def some(seed, n=60):
    rng = np.random.default_rng(seed)
    labels, said = rng.choice([0, 0, 0, 1, 2, 4], n), rng.choice([0, 0, 1, 2, 2, 5], n)
    return labels, said, rng.integers(3, size=n).astype(float)


@pytest.mark.parametrize("seed", range(3))
def test_classes_are_averaged_as_by_scikit_learn(seed):
    labels, said, often = some(seed)
    drawn = often > 0
    occurring = np.unique(labels[drawn])
    for over, given in (("occurring", {"labels": occurring}), ("either", {})):
        want = sklearn.f1_score(
            labels[drawn], said[drawn], average="macro", zero_division=0,
            sample_weight=often[drawn], **given,
        )  # fmt: skip
        found = macro_f1(labels, said, num_classes=K, over=over).of(often)
        assert found == pytest.approx(want, abs=1e-12)
    want = sklearn.recall_score(
        labels[drawn], said[drawn], average="macro", labels=occurring, sample_weight=often[drawn]
    )
    found = class_mean(said == labels, labels, num_classes=K).of(often)
    assert found == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_without_ties_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    scores, truth = rng.normal(size=(80, 5)), rng.random((80, 5)) < 0.2
    want = sklearn.average_precision_score(truth, scores, average="macro")
    measure = mean_average_precision(scores, truth)
    once = np.ones(80)
    assert measure.of(once) == measure.if_hit(once) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_ndcg_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    scores, truth = rng.normal(size=(20, 30)), rng.random((20, 30)) < 0.15
    truth[:, 0] = True
    query, candidate = np.nonzero(truth)
    ranks = [
        ((scores[q] > scores[q, c]) & ~truth[q]).sum()
        for q, c in zip(query, candidate, strict=True)
    ]
    found = ndcg(query, places(query, np.asarray(ranks)), queries=20, k=10)
    want = sklearn.ndcg_score(truth.astype(float), scores, k=10)
    assert found.mean() == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_jaccard_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    scores, right = rng.normal(size=10), np.arange(10) < 3
    chosen = np.isin(np.arange(10), np.argsort(scores)[-3:])
    for hits in picked(scores, right):
        assert jaccard(hits, 3) == pytest.approx(sklearn.jaccard_score(right, chosen))
