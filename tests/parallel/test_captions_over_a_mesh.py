"""Several captions of an image on a mesh: negatives of the global batch, as on one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from vlp.losses import mean_over_captions
from vlp.parallel.contrastive import contrastive_loss

N, K, D = 16, 3, 8
PARAMETERS = {"softmax": {"scale": 20.0}, "sigmoid": {"scale": 20.0, "bias": -5.0}}


@functools.cache
def captioned():
    """Images, captions of which some lack some, and weights."""
    rng = np.random.default_rng(0)
    zimg, ztxt = rng.normal(size=(N, 1, D)), rng.normal(size=(N, K, D))
    zimg, ztxt = (z / np.linalg.norm(z, axis=-1, keepdims=True) for z in (zimg, ztxt + zimg))
    present = rng.integers(0, K + 1, N)[:, None] > np.arange(K)
    weight = rng.integers(0, 3, N)
    return jnp.float32(zimg[:, 0]), jnp.float32(ztxt), jnp.asarray(present), jnp.float32(weight)


def outcome(loss, kind, place=None):
    """Losses and all gradients of an unevenly weighted mean."""
    zimg, ztxt, present, weight = jax.device_put(captioned(), place)
    share = jnp.linspace(0.0, 2.0, N) / N

    def total(zimg, ztxt, parameters):
        given = dict(present=present, weight=weight, **parameters)
        losses = mean_over_captions(loss, zimg, ztxt, **given)
        return jnp.sum(losses * share), losses

    parameters = {name: jnp.float32(value) for name, value in PARAMETERS[kind].items()}
    run = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))
    (_, losses), gradients = run(zimg, ztxt, parameters)
    return jax.tree.map(np.asarray, (losses, gradients))


@functools.cache
def dense(kind):
    return outcome(contrastive_loss(kind), kind)


@pytest.mark.parametrize("implementation", ["gathered", "ring"])
@pytest.mark.parametrize("kind", PARAMETERS)
def test_losses_and_gradients_are_those_of_one_device(kind, implementation):
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    place = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    loss = contrastive_loss(kind, mesh=mesh, implementation=implementation)
    got = outcome(loss, kind, place)

    def check(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))

    jax.tree.map(check, got, dense(kind))
