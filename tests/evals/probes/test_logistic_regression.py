"""Logistic regression: the gradient is zero at what is found, whatever shape the task has."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from vlp.evals.probes import logistic
from vlp.evals.probes.logistic import Logistic


def samples(n=60, d=5, k=4, *, seed=0, apart=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % k)
    return apart * rng.normal(size=(k, d))[labels] + rng.normal(size=(n, d)), labels


def loss(head, x, labels, c):
    """What is minimised, by plain numpy; with all classes there."""
    nats = -log_softmax(x @ head.weights + head.bias, axis=1)[np.arange(len(x)), labels]
    return c * nats.sum() + (head.weights**2).sum() / 2


@pytest.mark.parametrize("c", [1e-4, 1.0, 100.0])
def test_the_gradient_by_hand_is_zero_at_the_minimum(c):
    x, labels = samples()
    fit = Logistic(x, labels, num_classes=4, dtype="float64").fit([c], tolerance=1e-10)[0]
    error = softmax(x @ fit.head.weights + fit.head.bias, axis=1) - np.eye(4)[labels]
    assert fit.converged
    np.testing.assert_allclose(c * x.T @ error + fit.head.weights, 0, atol=1e-5 * max(1, c))
    np.testing.assert_allclose(c * error.sum(axis=0), 0, atol=1e-5 * max(1, c))


def test_two_classes_share_one_vector_of_weights_whose_gradient_is_zero():
    x, labels = samples(k=2)
    head = Logistic(x, labels, num_classes=2, dtype="float64").fit([0.5], tolerance=1e-10)[0].head
    assert (head.weights[:, 0] == 0).all() and head.bias[0] == 0
    error = 1 / (1 + np.exp(-(x @ head.weights[:, 1] + head.bias[1]))) - labels
    np.testing.assert_allclose(0.5 * x.T @ error + head.weights[:, 1], 0, atol=1e-6)
    assert abs(error.sum()) < 1e-6


def test_no_step_away_from_it_has_a_lower_loss():
    x, labels = samples(seed=1)
    head = Logistic(x, labels, num_classes=4, dtype="float64").fit([1.0], tolerance=1e-10)[0].head
    best, rng = loss(head, x, labels, 1.0), np.random.default_rng(2)
    for _ in range(20):
        moved = head.weights + 0.01 * rng.normal(size=head.weights.shape)
        assert loss(type(head)(moved, head.bias), x, labels, 1.0) > best


def test_samples_in_blocks_give_what_they_give_at_once(monkeypatch):
    x, labels = samples(n=61)
    whole = Logistic(x, labels, num_classes=4, dtype="float64").fit([1.0], tolerance=1e-10)[0]
    monkeypatch.setattr(logistic, "_HELD", 4 * 8)  # 7 blocks of 8 and one of 5
    parts = Logistic(x, labels, num_classes=4, dtype="float64").fit([1.0], tolerance=1e-10)[0]
    np.testing.assert_allclose(parts.head.weights, whole.head.weights, atol=1e-7)


def test_float32_finds_the_same_within_its_tolerance():
    x, labels = samples()
    exact = Logistic(x, labels, num_classes=4, dtype="float64").fit([1.0], tolerance=1e-10)[0].head
    found = Logistic(x, labels, num_classes=4).fit([1.0], tolerance=1e-6)[0].head
    assert found.weights.dtype == np.float32
    np.testing.assert_allclose(found.weights, exact.weights, atol=1e-3)


def test_several_penalties_are_each_found_from_zero():
    x, labels = samples(n=300, apart=0.3)
    problem, cs = Logistic(x, labels, num_classes=4, dtype="float64"), [1e-3, 1.0, 1e3]
    for fit, c in zip(problem.fit(cs), cs, strict=True):
        (alone,) = problem.fit([c])
        np.testing.assert_array_equal(fit.head.weights, alone.head.weights)
        assert fit.steps == alone.steps


def test_a_feature_that_is_no_number_is_no_minimum():
    x, labels = samples()
    x[0, 0] = np.nan
    (fit,) = Logistic(x, labels, num_classes=4).fit([1.0])
    assert not fit.converged


def test_classes_that_do_not_occur_are_never_said_and_change_nothing():
    x, labels = samples(k=3)
    among = np.asarray([1, 4, 5])[labels]
    head = Logistic(x, among, num_classes=8).fit([1.0])[0].head
    small = Logistic(x, labels, num_classes=3).fit([1.0])[0].head
    np.testing.assert_array_equal(head.weights[:, [1, 4, 5]], small.weights)
    assert np.isneginf(head.bias[[0, 2, 3, 6, 7]]).all()
    assert set(head(x.astype(np.float32)).argmax(axis=1)) <= {1, 4, 5}


def test_one_class_alone_is_always_said():
    fit = Logistic(np.ones((3, 2)), np.full(3, 2), num_classes=4).fit([1.0])[0]
    assert fit.converged and fit.head(np.zeros((5, 2))).argmax(axis=1).tolist() == [2] * 5


def test_constant_features_say_the_most_frequent_class():
    labels = np.asarray([0, 1, 1, 1, 2])
    head = Logistic(np.ones((5, 3)), labels, num_classes=3, dtype="float64").fit([1e-3])[0].head
    shares = softmax(head(np.ones((1, 3)))[0])
    np.testing.assert_allclose(shares, [0.2, 0.6, 0.2], atol=1e-3)


def test_iterations_that_do_not_suffice_are_known():
    x, labels = samples()
    fit = Logistic(x, labels, num_classes=4).fit([1e4], max_iter=3)[0]
    assert fit.steps == 3 and not fit.converged
