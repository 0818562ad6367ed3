"""Where the right class stands among scores: ties lost and won, and what is no number."""

import numpy as np
import pytest

from vlp.evals.probes import linear
from vlp.evals.probes.linear import Linear, accuracy, classified


def as_given(scores):
    return scores


SCORES = np.asarray([
    [3.0, 2.0, 1.0],  # first
    [1.0, 2.0, 2.0],  # tied for the first place
    [2.0, 2.0, 2.0],  # tied with all
    [np.nan, 1.0, 0.0],  # no number of its own
    [0.0, np.nan, 1.0],  # one beside it
    [-np.inf, 0.0, -np.inf],  # never seen
])  # fmt: skip


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_ranks_by_hand(monkeypatch, rows):
    monkeypatch.setattr(linear, "_HELD", 3 * rows)
    labels = np.asarray([0, 1, 2, 0, 2, 0])
    found = classified(as_given, SCORES, labels, num_classes=3)
    assert found.ranks.missed.tolist() == [0, 1, 2, 3, 1, 2]
    assert found.ranks.hit.tolist() == [0, 0, 0, 3, 0, 1]
    assert found.predicted[[0, 1, 2, 5]].tolist() == [0, 1, 0, 1]


def test_scores_that_are_close_are_a_tie():
    scores, labels = np.asarray([[1.0, 1.0 + 1e-9, 0.5]]), np.asarray([0])
    exact = classified(as_given, scores, labels, num_classes=3)
    close = classified(as_given, scores, labels, num_classes=3, tolerance=1e-6)
    assert (exact.ranks.missed, exact.ranks.hit) == (1, 1)
    assert (close.ranks.missed, close.ranks.hit) == (1, 0)


def test_accuracy_is_the_share_whose_class_scores_highest(monkeypatch):
    monkeypatch.setattr(linear, "_HELD", 4)
    head = Linear(np.eye(2), np.zeros(2))
    x = np.asarray([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0]])
    assert accuracy(head, x, np.asarray([0, 0, 0])) == 2 / 3
