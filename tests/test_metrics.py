"""Ranks against a loop in numpy, with ties."""

import numpy as np
import pytest

from vlp import metrics


def loop_ranks(scores, is_true):
    """Rank by rank, candidate by candidate."""
    ranks = []
    for row, true in zip(scores, is_true, strict=True):
        best = max((s for s, t in zip(row, true, strict=True) if t), default=-np.inf)
        ranks.append(sum(s >= best for s, t in zip(row, true, strict=True) if not t))
    return ranks


def small_integers(seed, *shape):
    """Few distinct values: many ties, and products that are exact in float32."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_ranks_of_tied_scores_equal_a_loop(seed):
    rng = np.random.default_rng(seed)
    scores, is_true = small_integers(seed, 17, 23), rng.random((17, 23)) < 0.1
    assert metrics.score_ranks(scores, is_true).tolist() == loop_ranks(scores, is_true)


@pytest.mark.parametrize(
    ("scores", "is_true", "rank"),
    [
        ([3.0, 2.0, 1.0], [1, 0, 0], 0),
        ([3.0, 2.0, 1.0], [0, 0, 1], 2),
        ([2.0, 2.0, 2.0], [1, 0, 0], 2),  # a tie counts against the model
        ([2.0, 2.0, 2.0], [1, 1, 0], 1),  # right candidates do not stand in each other's way
        ([3.0, 2.0, 1.0], [0, 1, 1], 1),  # the best right one counts
        ([3.0, 2.0, 1.0], [0, 0, 0], 3),  # nothing to be found: last
        ([np.nan, 2.0, 1.0], [1, 0, 0], 2),
        ([3.0, np.nan, 1.0], [1, 0, 0], 1),
    ],
)
def test_rank_of_one_query(scores, is_true, rank):
    row = metrics.score_ranks(np.array([scores], np.float32), np.array([is_true], bool))
    assert row.tolist() == [rank]
