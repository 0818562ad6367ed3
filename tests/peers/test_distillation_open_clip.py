"""Distillation against open_clip's own loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from open_clip.loss import DistillClipLoss

from vlp.losses import affinity_loss, softmax_loss

N, D, E = 16, 8, 12


def embeddings(width, seed):
    zimg, ztxt = np.random.default_rng(seed).normal(size=(2, N, width))
    ztxt = ztxt + zimg
    return [(z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32) for z in (zimg, ztxt)]


@pytest.mark.parametrize(("scale", "teacher_scale"), [(14.3, 100.0), (60.0, 20.0)])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.25, 0.75), (0.0, 1.0)])
def test_mean_losses_and_gradients_are_open_clip_s(weights, scale, teacher_scale):
    student = [*embeddings(D, 0), np.float32(scale)]
    teacher = [*embeddings(E, 1), np.float32(teacher_scale)]

    tensors = [torch.tensor(value, requires_grad=True) for value in student]
    want = DistillClipLoss()(*tensors, *map(torch.tensor, teacher))
    sum(weight * term for weight, term in zip(weights, want, strict=True)).backward()

    def mean(zimg, ztxt, scale):
        names = ("teacher_zimg", "teacher_ztxt", "teacher_scale")
        vectors = dict(zip(names, map(jnp.asarray, teacher), strict=True))
        contrastive = jnp.mean(softmax_loss(zimg, ztxt, scale=scale))
        affinity = jnp.mean(affinity_loss(zimg, ztxt, scale=scale, **vectors))
        return weights[0] * contrastive + weights[1] * affinity, (contrastive, affinity)

    run = jax.value_and_grad(mean, argnums=(0, 1, 2), has_aux=True)
    (_, got), gradients = run(*map(jnp.asarray, student))
    np.testing.assert_allclose(got, [term.item() for term in want], rtol=1e-5)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-5, atol=1e-5)
