"""Batches that repeat themselves or hold vectors of zeros: losses and gradients stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_reference import embeddings

from vlp.losses import sigmoid_loss, softmax_loss
from vlp.models.base import unit_norm

N, D = 6, 4
LOSSES = {
    "softmax": lambda zimg, ztxt: softmax_loss(zimg, ztxt, scale=100.0),
    "sigmoid": lambda zimg, ztxt: sigmoid_loss(zimg, ztxt, scale=100.0, bias=-10.0),
}
both = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def value_and_gradients(loss, image, text):
    def total(image, text):
        return jnp.sum(loss(unit_norm(image), unit_norm(text)))

    found = jax.value_and_grad(total, argnums=(0, 1))(jnp.float32(image), jnp.float32(text))
    for array in jax.tree.leaves(found):
        assert np.isfinite(array).all()
    return found


@both
@pytest.mark.parametrize("repeated", ["images", "texts", "pairs"])
def test_pairs_that_repeat_give_finite_losses_and_gradients(loss, repeated):
    image, text = (np.array(z) for z in embeddings(N, D))
    if repeated != "texts":
        image[:] = image[0]
    if repeated != "images":
        text[:] = text[0]
    value, _ = value_and_gradients(loss, image, text)
    if loss is LOSSES["softmax"] and repeated == "pairs":
        np.testing.assert_allclose(value, N * np.log(N), rtol=1e-5)


@both
@pytest.mark.parametrize("zero", ["one image", "one text", "all"])
def test_vectors_of_zeros_give_finite_losses_and_gradients(loss, zero):
    image, text = (np.array(z) for z in embeddings(N, D))
    if zero != "one text":
        image[1] = 0
    if zero != "one image":
        text[2] = 0
    if zero == "all":
        image[:], text[:] = 0, 0
    value, _ = value_and_gradients(loss, image, text)
    if loss is LOSSES["softmax"] and zero == "all":
        np.testing.assert_allclose(value, N * np.log(N), rtol=1e-5)
