import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.nn.batch_norm import BatchNorm, learns_statistics, moments
from vlp.nn.conv import Conv, average_pool

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(2, 3, size=(4, 6, 6, 3)), jnp.float32)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_a_sum_over_shifted_images(stride):
    conv = filled(lambda: Conv(3, 5, size=3, stride=stride, rngs=nnx.Rngs(0)))
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = np.asarray(conv.kernel[...])
    want = sum(
        padded[:, i : i + 6 : stride, j : j + 6 : stride] @ kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    np.testing.assert_allclose(conv(X), want, rtol=1e-5, atol=1e-5)


def test_a_kernel_without_centre_is_refused():
    with pytest.raises(ValueError, match="must be odd, got 2; try 3"):
        Conv(3, 5, size=2, rngs=nnx.Rngs(0))


def test_average_pooling_takes_the_mean_of_squares():
    want = [[np.mean(X[:, i : i + 3, j : j + 3], (1, 2)) for j in (0, 3)] for i in (0, 3)]
    np.testing.assert_allclose(average_pool(X, 3), np.moveaxis(want, 2, 0), atol=1e-6)
    assert average_pool(X, 1) is X


def test_moments_are_those_of_the_examples_present():
    present = jnp.asarray([True, False, True, True])
    mean, variance, count = moments(X, present=present)
    kept = np.asarray(X)[[0, 2, 3]]
    np.testing.assert_allclose(mean, kept.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, kept.var((0, 1, 2)), rtol=1e-5)
    assert count == 3 * 36


def test_training_leaves_each_channel_with_the_scale_and_the_bias_as_its_moments():
    norm = filled(lambda: BatchNorm(3))
    y = norm(X, train=True)
    np.testing.assert_allclose(np.mean(y, (0, 1, 2)), norm.bias[...], atol=1e-5)
    np.testing.assert_allclose(np.std(y, (0, 1, 2)), np.abs(norm.scale[...]), rtol=1e-4)


def test_many_training_passes_lead_to_what_evaluation_then_gives():
    norm = filled(lambda: BatchNorm(3))
    graphdef, state = nnx.split(norm)

    def step(state, _):
        model = nnx.merge(graphdef, state)
        model(X, train=True)
        return nnx.as_pure(nnx.state(model)), None

    state, _ = jax.lax.scan(step, nnx.as_pure(state), None, length=150)
    settled = nnx.merge(graphdef, state)
    np.testing.assert_allclose(settled.mean[...], np.mean(X, (0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(settled.variance[...], np.var(X, (0, 1, 2), ddof=1), rtol=1e-5)
    # The running variance is the unbiased one: 144 values against 143.
    np.testing.assert_allclose(settled(X), norm(X, train=True), rtol=5e-3, atol=5e-3)


def test_frozen_statistics_are_used_in_training_and_stay():
    norm = filled(lambda: BatchNorm(3))
    assert learns_statistics(norm)
    before = norm.mean[...], norm.variance[...]
    norm.frozen = True
    np.testing.assert_array_equal(norm(X, train=True), norm(X))
    np.testing.assert_array_equal(norm.mean[...], before[0])
    np.testing.assert_array_equal(norm.variance[...], before[1])
    assert not learns_statistics(norm)
