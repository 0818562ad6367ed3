"""Neighbours by brute force, and their votes by hand."""

import numpy as np
import pytest

from vlp.evals.probes import neighbours
from vlp.evals.probes.neighbours import nearest, votes


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 3, 23])
def test_neighbours_are_those_of_sorting_all_cosines(monkeypatch, k):
    monkeypatch.setattr(neighbours, "_TRAIN", 5)
    monkeypatch.setattr(neighbours, "_ASKED", 4)
    rng = np.random.default_rng(0)
    asked, train = unit(rng.normal(size=(11, 6))), unit(rng.normal(size=(23, 6)))
    cosines, which = nearest(asked, train, k=k)
    expected = np.argsort(-(asked @ train.T), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(which, expected)
    np.testing.assert_allclose(cosines, np.take_along_axis(asked @ train.T, expected, 1), atol=1e-6)


def test_of_equal_neighbours_the_earlier_ones_are_taken(monkeypatch):
    monkeypatch.setattr(neighbours, "_TRAIN", 3)
    train = np.tile([[1.0, 0.0]], (8, 1))
    _, which = nearest(np.asarray([[1.0, 0.0]]), train, k=5)
    assert which.tolist() == [[0, 1, 2, 3, 4]]


def test_votes_by_hand():
    cosines = np.asarray([[0.9, 0.9 - 0.07, 0.9 - 0.14]])
    found = votes(cosines, np.asarray([[2, 0, 0]]), num_classes=4, temperature=0.07)
    np.testing.assert_allclose(found, [[np.exp(-1) + np.exp(-2), 0.0, 1.0, 0.0]])


def test_votes_are_in_the_order_of_the_published_ones():
    rng = np.random.default_rng(1)
    cosines = -np.sort(-rng.uniform(-1, 1, (20, 5)), axis=1)
    labels = rng.integers(0, 3, (20, 5))
    found = votes(cosines, labels, num_classes=3, temperature=0.07)
    plain = np.stack([((labels == c) * np.exp(cosines / 0.07)).sum(axis=1) for c in range(3)], 1)
    np.testing.assert_allclose(found, plain / np.exp(cosines[:, :1] / 0.07), rtol=1e-9)


def test_a_sample_that_is_no_numbers_votes_for_nothing():
    cosines, which = nearest(np.asarray([[np.nan, 0.0], [1.0, 0.0]]), np.eye(2), k=1)
    found = votes(cosines, which, num_classes=2, temperature=0.1)
    assert np.isnan(found[0]).all() and found[1].tolist() == [1.0, 0.0]


def test_no_sample_has_no_neighbours():
    cosines, which = nearest(np.zeros((0, 2)), np.eye(2), k=2)
    assert cosines.shape == which.shape == (0, 2)
