"""Several captions of an image: what the loss is, and what moves it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_reference import central_differences, sigmoid_reference, softmax_reference

from vlp.losses import mean_over_captions, sigmoid_loss, softmax_loss

N, K, D = 5, 3, 4
LOSSES = {
    "softmax": (softmax_loss, softmax_reference, dict(scale=7.0)),
    "sigmoid": (sigmoid_loss, sigmoid_reference, dict(scale=7.0, bias=-3.0)),
}
# The last image has no weight, the one before no caption; of the others two lack some.
PRESENT = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], bool)
WEIGHT = np.array([1.0, 2.5, 1.0, 1.0, 0.0])


def unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def vectors():
    rng = np.random.default_rng(0)
    return unit(rng.normal(size=(N, D))), unit(rng.normal(size=(N, K, D)))


def reference(kind, zimg, ztxt, parameters):
    """Each image's captions by themselves, among those of others at the same place."""
    loss, found = LOSSES[kind][1], np.zeros(N)
    for i in range(N):
        own = [
            loss(zimg, ztxt[:, j], *parameters, WEIGHT * PRESENT[:, j])[i]
            for j in range(K)
            if PRESENT[i, j]
        ]
        found[i] = np.mean(own) if own else 0.0
    return found


def ours(kind, zimg, ztxt, parameters):
    return mean_over_captions(
        LOSSES[kind][0],
        zimg,
        ztxt,
        present=jnp.asarray(PRESENT),
        weight=jnp.float32(WEIGHT),
        **dict(zip(LOSSES[kind][2], parameters, strict=True)),
    )


@pytest.mark.parametrize("kind", LOSSES)
def test_it_is_the_mean_of_the_losses_of_each_image_s_captions(kind):
    parameters = [np.array(value) for value in LOSSES[kind][2].values()]
    arguments, share = [*vectors(), *parameters], np.arange(1.0, N + 1)

    def total(function, share):
        return lambda zimg, ztxt, *rest: share @ function(kind, zimg, ztxt, rest)

    places = tuple(range(len(arguments)))
    run = jax.value_and_grad(total(ours, jnp.float32(share)), argnums=places)
    value, gradients = run(*map(jnp.float32, arguments))
    np.testing.assert_allclose(value, total(reference, share)(*arguments), rtol=1e-5)
    for got, want in zip(
        gradients, central_differences(total(reference, share), arguments), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("kind", LOSSES)
def test_other_captions_of_an_image_are_no_negatives_of_it(kind):
    zimg, ztxt = map(jnp.float32, vectors())
    parameters = tuple(LOSSES[kind][2].values())

    def first(ztxt):  # of the first image, by its first caption alone
        return ours(kind, zimg, ztxt, parameters)[0]

    alone = jax.grad(lambda z: first(ztxt.at[0, 1].set(z)))(ztxt[0, 1])
    assert jnp.vdot(alone, zimg[0]) < 0  # nearer to its image is better


@pytest.mark.parametrize("kind", LOSSES)
def test_what_has_no_weight_or_is_absent_moves_nothing(kind):
    zimg, ztxt = map(jnp.float32, vectors())
    parameters = tuple(LOSSES[kind][2].values())

    def losses(zimg, ztxt):
        return ours(kind, zimg, ztxt, parameters)

    there = PRESENT & (WEIGHT > 0)[:, None]
    moved = jnp.where(there[:, :, None], ztxt, -ztxt), zimg.at[4].multiply(-1)
    np.testing.assert_array_equal(losses(moved[1], moved[0]), losses(zimg, ztxt))
    assert losses(zimg, ztxt)[3:].tolist() == [0, 0]
    gradient = jax.grad(lambda z: jnp.sum(losses(zimg, z)))(ztxt)
    np.testing.assert_array_equal(np.asarray(gradient)[~there], 0)
    assert (np.abs(np.asarray(gradient)[there]).max(axis=1) > 0).any()


@pytest.mark.parametrize("kind", LOSSES)
def test_of_a_single_caption_it_is_the_loss_itself_to_the_bit(kind):
    zimg, ztxt = map(jnp.float32, vectors())
    loss, _, parameters = LOSSES[kind]
    given = dict(weight=jnp.float32(WEIGHT), **parameters)
    one = mean_over_captions(loss, zimg, ztxt[:, :1], present=jnp.ones((N, 1), bool), **given)
    np.testing.assert_array_equal(one, loss(zimg, ztxt[:, 0], **given))
