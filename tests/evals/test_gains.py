"""Recall and nDCG of several right candidates, worked out by hand."""

from itertools import permutations

import numpy as np
import pytest

from vlp.evals.gains import discount, ndcg, ndcg_by_chance, places, recall


def test_places_count_the_right_ones_in_front_too():
    # Query 0: right ones behind 0, 2 and 2 wrong ones; query 2: behind 1; query 1 has none.
    query, ranks = np.array([0, 2, 0, 0]), np.array([2, 1, 0, 2])
    assert places(query, ranks).tolist() == [3, 1, 0, 4]


def test_recall_and_ndcg_by_hand():
    query, place = np.array([0, 2, 0, 0]), np.array([3, 1, 0, 4])
    assert recall(query, place, queries=3, k=4) == pytest.approx([2 / 3, 0, 1])
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert ndcg(query, place, queries=3, k=4) == pytest.approx(
        [(1 + 1 / np.log2(5)) / ideal, 0, 1 / np.log2(3)]
    )
    assert ndcg(query, place, queries=3, k=1) == pytest.approx([1, 0, 0])


def test_all_in_front_is_all_there_is_whatever_k():
    query, place = np.zeros(3, int), np.arange(3)
    for k in (1, 2, 3, 50):
        assert ndcg(query, place, queries=1, k=k) == pytest.approx([1])
        assert recall(query, place, queries=1, k=k) == pytest.approx([min(k, 3) / 3])


def test_the_chance_of_ndcg_is_the_mean_over_all_orders():
    found = []
    for order in set(permutations([1, 1, 0, 0, 0])):
        place = np.flatnonzero(order)
        found.append(ndcg(np.zeros(2, int), place, queries=1, k=3)[0])
    assert ndcg_by_chance(np.array([2]), 5, 3) == pytest.approx(np.mean(found))
    assert ndcg_by_chance(np.array([2]), 2, 10) == pytest.approx(1)


def test_the_first_place_is_worth_one():
    np.testing.assert_allclose(discount(np.array([0, 2])), [1, 0.5])
