import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_reference import central_differences, embeddings, softmax_reference

from vlp.losses import softmax_loss

N, D = 6, 4
WEIGHTS = {"all": np.ones(N), "some": np.array([1, 0, 2.5, 1, 0, 1]), "one": np.eye(N)[2]}


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_values_and_gradients_are_those_of_the_definition(weight):
    zimg, ztxt = embeddings(N, D)
    scale, share = np.array(7.0), np.arange(1.0, N + 1)

    def reference(zimg, ztxt, scale):
        return share @ softmax_reference(zimg, ztxt, scale, weight)

    def ours(zimg, ztxt, scale):
        loss = softmax_loss(zimg, ztxt, scale=scale, weight=jnp.float32(weight))
        return jnp.sum(loss * jnp.float32(share)), loss

    arguments = [jnp.float32(x) for x in (zimg, ztxt, scale)]
    (_, loss), gradients = jax.value_and_grad(ours, argnums=(0, 1, 2), has_aux=True)(*arguments)
    np.testing.assert_allclose(loss, softmax_reference(zimg, ztxt, 7.0, weight), atol=1e-5)
    expected = central_differences(reference, [zimg, ztxt, scale])
    for got, want in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-5)


def test_no_weight_means_all_weights_one():
    zimg, ztxt = (jnp.float32(z) for z in embeddings(N, D))
    without = softmax_loss(zimg, ztxt, scale=10.0)
    np.testing.assert_allclose(
        without, softmax_loss(zimg, ztxt, scale=10.0, weight=jnp.ones(N)), rtol=1e-6
    )


def test_a_pair_of_weight_zero_is_as_good_as_absent():
    zimg, ztxt = (jnp.float32(z) for z in embeddings(N, D))
    weight = jnp.float32([1, 1, 0, 1, 0, 1])
    kept = np.flatnonzero(weight)
    loss = softmax_loss(zimg, ztxt, scale=10.0, weight=weight)
    np.testing.assert_allclose(
        loss[kept], softmax_loss(zimg[kept], ztxt[kept], scale=10.0), rtol=1e-5
    )
    assert float(jnp.sum(jnp.abs(loss[weight == 0]))) == 0


def test_no_present_pair_gives_zero_loss_and_zero_finite_gradients():
    z = jnp.float32(embeddings(N, D)[0])
    value, gradient = jax.value_and_grad(
        lambda z, s: jnp.sum(softmax_loss(z, z, scale=s, weight=jnp.zeros(N))), argnums=(0, 1)
    )(z, jnp.float32(100.0))
    assert float(value) == 0
    assert all(float(jnp.sum(jnp.abs(g))) == 0 for g in gradient)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_zero_logits_give_log_n(n):
    z = jnp.float32(embeddings(n, D)[0])
    np.testing.assert_allclose(softmax_loss(z, z, scale=0.0), np.log(n), atol=1e-6)


def test_permuting_the_pairs_permutes_the_losses():
    zimg, ztxt = (jnp.float32(z) for z in embeddings(N, D))
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_allclose(
        softmax_loss(zimg[order], ztxt[order], scale=10.0),
        softmax_loss(zimg, ztxt, scale=10.0)[order],
        rtol=1e-5,
    )


def test_swapping_the_towers_changes_nothing():
    zimg, ztxt = (jnp.float32(z) for z in embeddings(N, D))
    np.testing.assert_allclose(
        softmax_loss(zimg, ztxt, scale=10.0), softmax_loss(ztxt, zimg, scale=10.0), rtol=1e-6
    )


def test_bfloat16_embeddings_are_summed_in_float32():
    zimg, ztxt = (jnp.bfloat16(z) for z in embeddings(N, D))
    loss = softmax_loss(zimg, ztxt, scale=10.0)
    exact = softmax_loss(jnp.float32(zimg), jnp.float32(ztxt), scale=10.0)
    assert loss.dtype == jnp.float32
    np.testing.assert_array_equal(loss, exact)


def test_large_scales_overflow_nowhere():
    z = jnp.float32(embeddings(N, D)[0])
    gradient = jax.grad(lambda z: jnp.sum(softmax_loss(z, -z, scale=1e4)))(z)
    assert bool(jnp.all(jnp.isfinite(gradient)))
