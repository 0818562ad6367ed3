"""The queue of features, on one device and on eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vlp.objectives.common.queue import empty_queue, enqueue, features
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import batch_sharding, carry_shardings

BATCH, WIDTH, SIZE = 16, 4, 48


def batch(step):
    rng = np.random.default_rng(step)
    return dict(
        zimg=jnp.float32(rng.normal(size=(BATCH, WIDTH))),
        ztxt=jnp.float32(rng.normal(size=(BATCH, WIDTH))),
        present=jnp.asarray(rng.random(BATCH) < 0.8),
    )


def filled(mesh, steps):
    """The queue after so many steps, compiled, its arrays where they live in training."""
    queue = empty_queue(size=SIZE, global_batch_size=BATCH, embed_dim=WIDTH)
    places = carry_shardings(queue, mesh=mesh)
    queue = jax.device_put(queue, places)
    step = jax.jit(
        lambda queue, batch: enqueue(queue, **batch), donate_argnums=0, out_shardings=places
    )
    for number in range(steps):
        queue = step(queue, jax.device_put(batch(number), batch_sharding(mesh)))
    return queue


def rows(zimg, ztxt, present):
    """As a set of rows, for the order of the keys means nothing."""
    both = np.concatenate([zimg, ztxt], axis=1)[np.asarray(present)]
    return sorted(both.tolist())


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("steps", [2, 3, 7])
def test_it_holds_exactly_the_last_features(steps, devices):
    queue = filled(make_mesh(devices=jax.devices()[:devices]), steps)
    last = [batch(number) for number in range(max(0, steps - SIZE // BATCH), steps)]
    want = [np.concatenate([b[name] for b in last]) for name in ("zimg", "ztxt", "present")]
    assert rows(*features(queue)) == rows(*want)
    assert int(queue["batches"]) == steps


def test_over_a_mesh_each_device_holds_its_share_and_taking_a_batch_in_moves_nothing():
    mesh = make_mesh(fsdp=2)
    queue = filled(mesh, 1)
    want = NamedSharding(mesh, PartitionSpec(None, ("data", "fsdp")))
    for name in ("zimg", "ztxt", "present"):
        assert queue[name].sharding.is_equivalent_to(want, queue[name].ndim)
    here = jax.device_put(batch(1), batch_sharding(mesh))
    text = jax.jit(lambda q, b: enqueue(q, **b)).lower(queue, here).compile().as_text()
    assert not [word for word in ("all-gather", "all-to-all", "permute", "reduce") if word in text]


def test_an_empty_queue_has_no_features():
    queue = empty_queue(size=0, global_batch_size=BATCH, embed_dim=WIDTH)
    queue = enqueue(queue, **batch(0))
    zimg, ztxt, present = features(queue)
    assert zimg.shape == ztxt.shape == (0, WIDTH) and present.shape == (0,)
    assert int(queue["batches"]) == 1


@pytest.mark.parametrize("size", [40, -16])
def test_a_size_that_does_not_divide_is_refused_with_two_that_do(size):
    with pytest.raises(ValueError, match="multiple of global_batch_size 16, got .*; try .* or"):
        empty_queue(size=size, global_batch_size=BATCH, embed_dim=WIDTH)
