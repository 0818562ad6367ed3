import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_reference import central_differences, embeddings, sigmoid_reference

from vlp.losses import sigmoid_loss

N, D = 6, 4
WEIGHTS = {"all": np.ones(N), "some": np.array([1, 0, 2.5, 1, 0, 1]), "none": np.zeros(N)}


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_values_and_gradients_are_those_of_the_definition(weight):
    zimg, ztxt = embeddings(N, D)
    scale, bias, share = np.array(7.0), np.array(-3.0), np.arange(1.0, N + 1)

    def reference(zimg, ztxt, scale, bias):
        return share @ sigmoid_reference(zimg, ztxt, scale, bias, weight)

    def ours(zimg, ztxt, scale, bias):
        loss = sigmoid_loss(zimg, ztxt, scale=scale, bias=bias, weight=jnp.float32(weight))
        return jnp.sum(loss * jnp.float32(share)), loss

    arguments = [jnp.float32(x) for x in (zimg, ztxt, scale, bias)]
    (_, loss), gradients = jax.value_and_grad(ours, argnums=(0, 1, 2, 3), has_aux=True)(*arguments)
    np.testing.assert_allclose(loss, sigmoid_reference(zimg, ztxt, 7.0, -3.0, weight), atol=1e-5)
    expected = central_differences(reference, [zimg, ztxt, scale, bias])
    for got, want in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-5)


def test_a_pair_of_weight_zero_is_as_good_as_absent():
    zimg, ztxt = (jnp.float32(z) for z in embeddings(N, D))
    weight = jnp.float32([1, 1, 0, 1, 0, 1])
    kept = np.flatnonzero(weight)
    loss = sigmoid_loss(zimg, ztxt, scale=10.0, bias=-5.0, weight=weight)
    alone = sigmoid_loss(zimg[kept], ztxt[kept], scale=10.0, bias=-5.0)
    np.testing.assert_allclose(loss[kept], alone, rtol=1e-5)
    assert float(jnp.sum(jnp.abs(loss[weight == 0]))) == 0


def test_permuting_the_pairs_permutes_the_losses():
    zimg, ztxt = (jnp.float32(z) for z in embeddings(N, D))
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_allclose(
        sigmoid_loss(zimg[order], ztxt[order], scale=10.0, bias=-5.0),
        sigmoid_loss(zimg, ztxt, scale=10.0, bias=-5.0)[order],
        rtol=1e-5,
    )


def test_zero_logits_give_n_times_log_2():
    z = jnp.float32(embeddings(N, D)[0])
    np.testing.assert_allclose(sigmoid_loss(z, z, scale=0.0, bias=0.0), N * np.log(2), rtol=1e-6)


def test_extreme_logits_give_finite_gradients():
    z = jnp.float32(embeddings(N, D)[0])
    for sign in (1.0, -1.0):
        gradient = jax.grad(lambda z, s=sign: jnp.sum(sigmoid_loss(z, s * z, scale=1e4, bias=0.0)))(
            z
        )
        assert bool(jnp.all(jnp.isfinite(gradient)))
