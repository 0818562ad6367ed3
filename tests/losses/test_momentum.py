"""The contrastive loss with a teacher's keys and targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_reference import central_differences

from vlp.losses import momentum_contrastive_loss, soft_cross_entropy, softmax_loss

N, M, D, SCALE = 4, 7, 5, 3.0
PRESENT = np.array([True] * 5 + [False, True])
SHARE = np.arange(1.0, N + 1)


def unit(rng, rows):
    z = rng.normal(size=(rows, D))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def features():
    rng = np.random.default_rng(0)
    return [unit(rng, rows) for rows in (N, N, M, M)]


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def reference(zimg, ztxt, scale, keys_img, keys_txt, alpha):
    """Equations 1, 2 and 6 of ALBEF, the divergence without the teacher's entropy."""
    total = 0.0
    for z, own, keys in ((zimg, keys_img, keys_txt), (ztxt, keys_txt, keys_img)):
        keys = keys[PRESENT]
        p = softmax(scale * z @ keys.T)
        y = np.eye(N, len(keys))
        q = softmax(SCALE * own[:N] @ keys.T)  # the teacher's scale is a constant
        total = total - 0.5 * np.sum(((1 - alpha) * y + alpha * q) * np.log(p), axis=1)
    return total


def ours(zimg, ztxt, scale, keys_img, keys_txt, alpha):
    return momentum_contrastive_loss(
        jnp.float32(zimg),
        jnp.float32(ztxt),
        keys_img=jnp.float32(keys_img),
        keys_txt=jnp.float32(keys_txt),
        present=jnp.asarray(PRESENT),
        scale=scale,
        distillation=alpha,
    )


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_values_and_gradients_are_those_of_the_paper(alpha):
    zimg, ztxt, keys_img, keys_txt = features()
    scale = np.array(SCALE)

    def want(zimg, ztxt, scale):
        return SHARE @ reference(zimg, ztxt, scale, keys_img, keys_txt, alpha)

    def got(zimg, ztxt, scale):
        loss = ours(zimg, ztxt, scale, keys_img, keys_txt, alpha)
        return jnp.sum(loss * jnp.float32(SHARE)), loss

    inputs = [jnp.float32(x) for x in (zimg, ztxt, scale)]
    (_, loss), gradients = jax.value_and_grad(got, argnums=(0, 1, 2), has_aux=True)(*inputs)
    np.testing.assert_allclose(
        loss, reference(zimg, ztxt, SCALE, keys_img, keys_txt, alpha), atol=1e-5
    )
    differences = central_differences(want, [zimg, ztxt, scale])
    for gradient, difference in zip(gradients, differences, strict=True):
        np.testing.assert_allclose(gradient, difference, atol=1e-5)


def test_with_the_batch_as_its_own_keys_it_is_the_softmax_loss():
    zimg, ztxt, *_ = (jnp.float32(z) for z in features())
    got = momentum_contrastive_loss(
        zimg, ztxt, keys_img=zimg, keys_txt=ztxt, present=jnp.ones(N, bool), scale=SCALE
    )
    np.testing.assert_allclose(got, softmax_loss(zimg, ztxt, scale=SCALE), atol=1e-5)


def test_the_teacher_gets_no_gradient():
    zimg, ztxt, keys_img, keys_txt = features()

    def loss(keys_img, keys_txt):
        return jnp.sum(ours(zimg, ztxt, SCALE, keys_img, keys_txt, 0.4))

    for gradient in jax.grad(loss, argnums=(0, 1))(jnp.float32(keys_img), jnp.float32(keys_txt)):
        assert not np.any(gradient)


def test_soft_targets_have_the_gradients_of_the_divergence():
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(3, 6)), softmax(rng.normal(size=(3, 6)))

    def divergence(x):
        return np.sum(targets * (np.log(targets) - np.log(softmax(x))))

    got = jax.grad(lambda x: jnp.sum(soft_cross_entropy(x, jnp.float32(targets))))(
        jnp.float32(logits)
    )
    (want,) = central_differences(divergence, [logits])
    np.testing.assert_allclose(got, want, atol=1e-5)
    entropy = -np.sum(targets * np.log(targets))
    value = jnp.sum(soft_cross_entropy(jnp.float32(logits), jnp.float32(targets)))
    np.testing.assert_allclose(value, divergence(logits) + entropy, atol=1e-5)
