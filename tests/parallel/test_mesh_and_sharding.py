"""Meshes, the shape rule, and batches onto the mesh."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from vlp.parallel.mesh import check_global_batch_size, fsdp_sizes, make_mesh
from vlp.parallel.sharding import batch_sharding, put_batch, shape_shardings, shape_spec


def test_a_mesh_takes_all_devices_with_automatic_axes():
    mesh = make_mesh(fsdp=4)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4, "tensor": 1}
    assert set(mesh.axis_types) == {AxisType.Auto}
    x = jax.device_put(np.ones((8, 3), np.float32), batch_sharding(mesh))
    assert float(jax.jit(lambda x: jnp.sum(x @ x.T))(x)) == 192.0


@pytest.mark.parametrize(
    ("axes", "remedy"),
    [
        (dict(fsdp=3), "fsdp must divide 8 devices, got 3; try 1, 2, 4, 8"),
        (dict(fsdp=0), "fsdp must divide 8 devices, got 0"),
        (dict(data=3, fsdp=2), "got 3 \\* 2 \\* 1; try data=4"),
        (dict(fsdp=2, tensor=8), "fsdp must divide 8 devices, got 2; try 1"),
        (dict(tensor=3), "tensor must divide 8 devices, got 3; try 1, 2, 4, 8"),
    ],
)
def test_axes_that_do_not_fit_are_refused_with_those_that_do(axes, remedy):
    with pytest.raises(ValueError, match=remedy):
        make_mesh(**axes)


@pytest.mark.parametrize(("size", "remedy"), [(100, "try 96 or 104"), (3, "try 8"), (0, "try 8")])
def test_a_batch_that_does_not_divide_is_refused_with_the_nearest_that_do(size, remedy):
    with pytest.raises(ValueError, match=f"must divide by 8 devices, got {size}; {remedy}"):
        check_global_batch_size(size, mesh=make_mesh())


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((12, 768, 3072), P(None, None, "fsdp")),
        ((12, 3072, 768), P(None, "fsdp")),
        ((512, 512), P("fsdp")),
        ((1027, 512), P(None, "fsdp")),
        ((1027, 513), P()),
        ((8, 8), P()),
        ((), P()),
    ],
)
def test_the_largest_dimension_that_divides_is_divided_if_worth_it(shape, spec):
    assert shape_spec(shape, fsdp=4, min_elements=1000) == spec


@pytest.mark.parametrize(
    ("name", "shape", "spec"),
    [
        (("up", "kernel"), (12, 768, 3072), P(None, "fsdp", "tensor")),
        (("down", "kernel"), (12, 3072, 768), P(None, "tensor", "fsdp")),
        (("qkv", "kernel"), (12, 768, 2304), P(None, "tensor", "fsdp")),
        (("query", "kernel"), (12, 768, 768), P(None, "fsdp", "tensor")),
        (("embed", "kernel"), (768, 512), P("fsdp")),
        (("up", "bias"), (12, 3072), P(None, "fsdp")),
        (("up", "kernel"), (3, 5), P()),
    ],
)
def test_a_tensor_axis_divides_columns_of_heads_and_features_and_the_rows_they_go_into(
    name, shape, spec
):
    first, second = name
    tree = {"blocks": {first: {second: jax.ShapeDtypeStruct(shape, jnp.float32)}}}
    found = shape_shardings(tree, mesh=make_mesh(fsdp=4, tensor=2), min_elements=1000)
    assert [each.spec for each in jax.tree.leaves(found)] == [spec]


@dataclasses.dataclass(frozen=True)
class Far:
    """A device of some process and slice."""

    id: int
    process_index: int
    slice_index: int = 0
    platform: str = "cpu"
    device_kind: str = "cpu"


def test_devices_along_tensor_belong_to_one_process():
    hosts = [Far(n, n // 4) for n in range(16)]
    mesh = make_mesh(fsdp=2, tensor=4, devices=hosts)
    for row in mesh.devices.reshape(-1, 4):
        assert len({device.process_index for device in row}) == 1
    with pytest.raises(ValueError, match="tensor must divide the 4 devices of a process, got 8"):
        make_mesh(tensor=8, devices=hosts)


def test_slices_lie_along_data():
    slices = [Far(n, n // 4, n // 8) for n in range(16)]
    mesh = make_mesh(fsdp=4, devices=slices)
    assert dict(mesh.shape) == {"data": 4, "fsdp": 4, "tensor": 1}
    for place, row in enumerate(mesh.devices.reshape(2, 8)):
        assert {device.slice_index for device in row} == {place}
    with pytest.raises(ValueError, match="data must divide by the 2 slices, got 1.*the 8 devices"):
        make_mesh(fsdp=16, devices=slices)


def test_the_rule_covers_any_pytree_without_allocating():
    huge = jax.ShapeDtypeStruct((2**20, 2**20), jnp.float32)
    shardings = shape_shardings({"a": (huge, [huge]), "n": None}, mesh=make_mesh(fsdp=8))
    assert [s.spec for s in jax.tree.leaves(shardings)] == [P("fsdp")] * 2


def test_a_batch_is_divided_over_every_device():
    batch = {"image": np.arange(48, dtype=np.uint8).reshape(16, 3), "weight": np.ones(16)}
    batch["weight"] = batch["weight"].astype(np.float32)
    put = put_batch(batch, make_mesh(fsdp=2))
    np.testing.assert_array_equal(put["image"], batch["image"])
    assert {shard.data.shape for shard in put["image"].addressable_shards} == {(2, 3)}
    with pytest.raises(ValueError, match="got 12; try 8 or 16"):
        put_batch({"weight": np.ones(12, np.float32)}, make_mesh())


def test_axes_that_a_slice_has_no_sides_for_are_refused_with_those_that_it_has(monkeypatch):
    real = jax.make_mesh

    def of_sides_of_eight(shape, *args, **kwargs):
        if 2 in shape:
            raise NotImplementedError("no assignment")
        return real(shape, *args, **kwargs)

    monkeypatch.setattr(jax, "make_mesh", of_sides_of_eight)
    assert fsdp_sizes(jax.devices()) == [1, 8]
    with pytest.raises(ValueError, match="data 4 x fsdp 2 .* sides of the slice.* fsdp 1, 8"):
        make_mesh(fsdp=2)
