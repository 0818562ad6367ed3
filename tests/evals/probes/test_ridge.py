"""Ridge regression beside numpy's least squares, on rows that stand for the penalty."""

import numpy as np
import pytest

from vlp.evals.probes.ridge import ridge


@pytest.mark.parametrize("n", [4, 8, 9, 30])  # fewer, as many, and more samples than weights
def test_scores_are_those_of_least_squares_with_a_row_for_each_weight(n):
    rng = np.random.default_rng(n)
    x, labels, l2 = rng.normal(3.0, 2.0, (n, 7)), rng.integers(0, 3, n), 7.0
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-5
    rows = np.concatenate([(x - mean) / std, np.full((n, 1), 100.0)], axis=1)
    wanted = 2 * np.eye(3)[labels] - 1
    above = np.concatenate([rows, np.sqrt(l2) * np.eye(8)])
    weights = np.linalg.lstsq(above, np.concatenate([wanted, np.zeros((8, 3))]), rcond=None)[0]
    new = rng.normal(3.0, 2.0, (11, 7))
    expected = np.concatenate([(new - mean) / std, np.full((11, 1), 100.0)], axis=1) @ weights
    head = ridge(x, labels, num_classes=3, l2=l2)
    np.testing.assert_allclose(head(new), expected, atol=1e-9)


def test_by_hand_one_feature_and_two_samples():
    # Standardised to -1 and 1: sum of squares 2, so that w = 2 / (2 + l2) for the second class.
    head = ridge(np.asarray([[0.0], [4.0]]), np.asarray([0, 1]), num_classes=2, l2=2.0)
    np.testing.assert_allclose(head(np.asarray([[4.0]])), [[-0.5, 0.5]], atol=1e-4)
    np.testing.assert_allclose(head(np.asarray([[2.0]])), [[0.0, 0.0]], atol=1e-9)


def test_a_class_without_samples_scores_minus_one_and_constant_features_break_nothing():
    head = ridge(np.ones((3, 2)), np.asarray([0, 0, 2]), num_classes=3, l2=1.0)
    scores = head(np.ones((1, 2)))[0]
    np.testing.assert_allclose(scores, [1 / 3, -1.0, -1 / 3], atol=1e-3)
