import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss, SigLipLoss

from vlp.losses import sigmoid_loss, softmax_loss

N, D = 16, 8
LOSSES = {"softmax": (softmax_loss, ClipLoss), "sigmoid": (sigmoid_loss, SigLipLoss)}
CASES = [
    ("softmax", (14.3,)),
    ("softmax", (100.0,)),
    ("sigmoid", (10.0, -10.0)),
    ("sigmoid", (50.0, -3.0)),
]


def embeddings():
    zimg, ztxt = np.random.default_rng(0).normal(size=(2, N, D))
    ztxt = ztxt + zimg
    return [(z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32) for z in (zimg, ztxt)]


@pytest.mark.parametrize(("kind", "parameters"), CASES)
def test_mean_loss_and_gradients_are_open_clip_s(kind, parameters):
    ours, theirs = LOSSES[kind]
    arguments = [*embeddings(), *(np.float32(value) for value in parameters)]

    tensors = [torch.tensor(value, requires_grad=True) for value in arguments]
    want = theirs()(*tensors)
    want.backward()

    def mean(zimg, ztxt, scale, bias=None):
        kwargs = {} if bias is None else {"bias": bias}
        return jnp.mean(ours(zimg, ztxt, scale=scale, **kwargs))

    every = tuple(range(len(arguments)))
    got, gradients = jax.value_and_grad(mean, argnums=every)(*map(jnp.asarray, arguments))
    np.testing.assert_allclose(got, want.item(), rtol=1e-5)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-5, atol=1e-5)
