"""Questions with a few candidates, worked out by hand."""

from itertools import permutations

import numpy as np
import pytest

from vlp.evals.questions import (
    both_by_chance,
    each_row,
    jaccard,
    jaccard_by_chance,
    picked,
    rows_by_chance,
    won,
)

EYE = np.eye(2, dtype=bool)
FIRST = np.array([True, False, False])


@pytest.mark.parametrize(
    ("scores", "lost", "hit", "first"),
    [
        ([0.3, 0.2, 0.1], True, True, True),
        ([0.3, 0.3, 0.1], False, True, True),  # a tie, and the right one stands first
        ([0.3, 0.3 + 5e-7, 0.1], False, True, False),  # rounding
        ([0.1, 0.2, 0.1], False, False, False),
        ([np.nan, 0.2, 0.1], False, False, True),
        ([0.3, np.nan, 0.1], False, True, False),
    ],
)
def test_who_wins_by_each_rule(scores, lost, hit, first):
    assert won(np.array(scores), FIRST) == (lost, hit, first)


def test_the_last_of_tied_candidates_loses_by_order():
    assert won(np.array([0.3, 0.1, 0.3]), FIRST[::-1]) == (False, True, False)


def test_every_row_with_a_right_one_must_be_won():
    scores = np.array([[0.9, 0.1], [0.8, 0.2]])
    assert each_row(scores, EYE) == (False, False, False)
    assert each_row(scores, np.array([[True, False], [False, False]])) == (True, True, True)
    assert each_row(scores, np.zeros((2, 2), bool)) is None
    assert each_row(scores[:, :1], np.ones((2, 1), bool)) is None


def test_chance_is_the_share_of_all_orders():
    orders = [np.reshape(order, (2, 2)).astype(float) for order in permutations(range(4))]
    texts = np.mean([each_row(order, EYE).lost for order in orders])
    both = np.mean([(each_row(o, EYE) & each_row(o.T, EYE)).lost for o in orders])
    assert rows_by_chance(EYE) == pytest.approx(texts) == 1 / 4
    assert both_by_chance(EYE) == pytest.approx(both)
    assert both_by_chance(FIRST[None]) == pytest.approx(1 / 3)
    assert both_by_chance(FIRST[:, None]) == pytest.approx(1 / 3)
    assert np.isnan(both_by_chance(np.eye(3, dtype=bool)))


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ([0.9, 0.8, 0.1, 0.0, 0.2], (2, 2, 2)),
        ([0.9, 0.1, 0.8, 0.0, 0.2], (1, 1, 1)),
        ([0.5, 0.5, 0.5, 0.5, 0.5], (0, 2, 0)),  # by order the last two, which are wrong
        ([0.9, 0.5, 0.5, 0.5, 0.1], (1, 2, 1)),
        ([np.nan, 0.5, 0.1, 0.1, 0.1], (1, 1, 2)),  # argsort puts NaN last, and so first
        ([0.9, 0.8, np.nan, 0.1, 0.1], (1, 2, 1)),
    ],
)
def test_how_many_right_ones_are_among_the_best(scores, found):
    assert picked(np.array(scores), np.array([1, 1, 0, 0, 0], bool)) == found


def test_jaccard_is_the_overlap_over_the_union():
    assert [jaccard(hits, 3) for hits in range(4)] == pytest.approx([0, 1 / 5, 2 / 4, 1])


def test_the_chance_of_jaccard_is_the_mean_over_all_choices():
    from itertools import combinations

    chosen = [set(pair) for pair in combinations(range(5), 2)]
    want = np.mean([len(pair & {0, 1}) / len(pair | {0, 1}) for pair in chosen])
    assert jaccard_by_chance(5, 2) == pytest.approx(want)
    assert jaccard_by_chance(2, 2) == 1
