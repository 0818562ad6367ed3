"""AdamW beside a loop in numpy, and several weight decays beside each alone."""

import numpy as np
from scipy.special import softmax

from vlp.evals.probes.adamw import train
from vlp.evals.probes.linear import accuracy


def samples(n=50, d=6, k=3, *, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % k)
    x = 2 * rng.normal(size=(k, d))[labels] + rng.normal(size=(n, d))
    return x.astype(np.float32), labels


def by_hand(x, labels, *, decay, rate, epochs, batch, seed):
    """torch's AdamW in float64, with a cosine from the first step on."""
    rng, (n, d), k = np.random.default_rng(seed), x.shape, labels.max() + 1
    params = [rng.uniform(-(d**-0.5), d**-0.5, (d, k)), rng.uniform(-(d**-0.5), d**-0.5, k)]
    orders = [rng.permutation(n) for _ in range(epochs)]
    cuts = [order[i : i + batch] for order in orders for i in range(0, n, batch)]
    first, second = [0.0, 0.0], [0.0, 0.0]
    for step, rows in enumerate(cuts):
        now = rate * 0.5 * (1 + np.cos(np.pi * step / len(cuts)))
        error = softmax(x[rows] @ params[0] + params[1], axis=1) - np.eye(k)[labels[rows]]
        for i, g in enumerate((x[rows].T @ error / len(rows), error.mean(axis=0))):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g**2
            mean, square = first[i] / (1 - 0.9 ** (step + 1)), second[i] / (1 - 0.999 ** (step + 1))
            params[i] = params[i] * (1 - now * decay) - now * mean / (np.sqrt(square) + 1e-8)
    return params


def test_the_weights_are_those_of_a_loop_by_hand():
    x, labels = samples()  # the last batch has 2 of 16
    (head,) = train(
        x, labels, num_classes=3, decays=[0.3], rate=0.05, epochs=3, batch_size=16, seed=5
    )
    weights, bias = by_hand(x, labels, decay=0.3, rate=0.05, epochs=3, batch=16, seed=5)
    np.testing.assert_allclose(head.weights, weights, atol=1e-4)
    np.testing.assert_allclose(head.bias, bias, atol=1e-4)


def test_several_weight_decays_at_once_are_each_alone():
    x, labels = samples()
    both = train(x, labels, num_classes=3, decays=[0.0, 10.0], epochs=2, batch_size=8)
    for decay, head in zip([0.0, 10.0], both, strict=True):
        (alone,) = train(x, labels, num_classes=3, decays=[decay], epochs=2, batch_size=8)
        np.testing.assert_allclose(head.weights, alone.weights, atol=1e-5)
    assert np.abs(both[1].weights).max() < np.abs(both[0].weights).max()


def test_it_learns():
    x, labels = samples(n=90)
    (head,) = train(x, labels, num_classes=3, decays=[1e-6], epochs=10)
    assert accuracy(head, x, labels) > 0.9


def test_classes_beyond_the_largest_that_was_seen_are_never_said():
    x, labels = samples()
    (head,) = train(x, labels, num_classes=7, decays=[0.0], epochs=1)
    assert head.weights.shape == (6, 7) and np.isneginf(head.bias[3:]).all()
