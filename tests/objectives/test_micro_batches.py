"""A batch that models go through a few examples at a time: what it learns, sends and holds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.nn.test_attention_of_families import loss_and_gradient
from tests.training.test_dual_encoder_training import MODELS, OBJECTIVES
from vlp.objectives.clip import Clip
from vlp.objectives.common.micro_batches import map_micro_batches
from vlp.parallel.mesh import make_mesh


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind != "albef")) for kind in MODELS]
)
def test_every_objective_learns_by_micro_batches_what_it_does_at_once(kind, monkeypatch):
    mesh = make_mesh(data=2, fsdp=2, devices=jax.devices()[:4])
    want = loss_and_gradient(kind, "einsum", mesh)
    few = functools.partial(OBJECTIVES[kind], micro_batch_size=6)
    monkeypatch.setitem(OBJECTIVES, kind, few)
    got = loss_and_gradient(kind, "einsum", mesh)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, want)


@pytest.mark.parametrize(("size", "better"), [(12, 16), (0, 8), (-3, 8)])
def test_micro_batches_that_the_devices_cannot_share_are_refused_before_anything_runs(size, better):
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    with pytest.raises(ValueError, match=f"by the 8 parts .* got {size}; try {better}, or None"):
        Clip(mesh=mesh, micro_batch_size=size)


def test_micro_batches_come_back_in_order():
    inputs = {"a": jnp.arange(7.0), "b": jnp.arange(14.0).reshape(7, 2)}
    got = map_micro_batches(lambda part: part["b"] * part["a"][:, None], inputs, size=3)
    np.testing.assert_array_equal(got, inputs["b"] * inputs["a"][:, None])


def test_micro_batches_of_a_split_batch_need_no_communication():
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    x = jax.ShapeDtypeStruct((64, 4), jnp.float32, sharding=split)
    run = jax.jit(
        lambda x: map_micro_batches(lambda part: jnp.tanh(part), x, size=16), out_shardings=split
    )
    text = run.lower(x).compile().as_text()
    found = [op for op in ("all-gather", "all-to-all", "collective-permute") if op in text]
    assert not found
