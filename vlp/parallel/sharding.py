"""One rule from an array's name and shape to its place on the mesh, for any pytree; and batches."""

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vlp.nn.edges import OfHeads, edges
from vlp.parallel.mesh import (
    BATCH_AXES,
    AnyMesh,
    batch_parts,
    check_global_batch_size,
    divisors,
)

# Below a quarter of a million elements (1 MiB in float32) gathering costs more than it saves.
MIN_ELEMENTS = 2**18

# Which axis of a layer's matrix `tensor` divides, by the end of its name. Columns are heads and
# hidden features where these come out, rows where they go in. Queries, keys and values lie side by
# side, so that a share of all columns would be none of the heads: they are divided by rows.
_TENSOR_AXES: Mapping[tuple[str, ...], int] = {
    ("query", "kernel"): -1,
    ("qkv", "kernel"): -2,
    ("key_value", "kernel"): -2,
    ("out", "kernel"): -2,
    ("up", "kernel"): -1,
    ("down", "kernel"): -2,
}


def replicated(mesh: AnyMesh) -> NamedSharding:
    """The sharding of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: AnyMesh) -> NamedSharding:
    """The sharding of a batch: its leading axis over all axes of the mesh but `tensor`."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def rows_kept(mesh: AnyMesh | None) -> contextlib.AbstractContextManager[None]:
    """While this holds, what is traced is for a mesh and keeps its rows where batches have them, in
    every layer.

    Without it the places of parameters win over those of rows, and a mesh whose `fsdp` axis
    divides weights gathers the tokens of the whole batch in every layer. An array whose leading
    axis does not divide by the devices is left alone; so is all on one device. Heads and hidden
    features are divided over the axis `tensor`.
    """
    if mesh is None:
        return contextlib.nullcontext()
    return edges(_Layout(mesh))


@dataclasses.dataclass(frozen=True)
class _Layout:
    """See `vlp.nn.edges.Machine`."""

    mesh: AnyMesh

    @property
    def platform(self) -> str:
        if not isinstance(self.mesh, Mesh):  # an abstract one has no devices
            return jax.default_backend()
        return self.mesh.devices.flat[0].platform

    @property
    def parts(self) -> int:
        return self.mesh.shape.get("tensor", 1)

    def at_edge(self, x: Any) -> Any:
        return self._placed(x) if x.ndim > 1 and self.mesh.size > 1 else x

    def apart(self, x: Any, *, axis: int, rows: bool) -> Any:
        if x.shape[axis] % self.parts:
            raise ValueError(
                f"mesh axis tensor must divide the heads and hidden features of every layer, got "
                f"{self.parts} for {x.shape[axis]}; try {divisors(x.shape[axis])}"
            )
        return self._placed(x, axis=axis, rows=rows)

    def by_heads(self, function: OfHeads) -> OfHeads:
        """Rows that do not divide are left to the compiler, and so is all on one device."""
        rows, heads = PartitionSpec(BATCH_AXES), PartitionSpec(BATCH_AXES, None, "tensor")
        spread: Any = dict(in_specs=(heads, rows), out_specs=heads)
        own = jax.shard_map(function, mesh=self.mesh, check_vma=False, **spread)

        def applied(arrays: tuple[Any, ...], constants: Any) -> Any:
            divides = arrays[0].shape[0] % batch_parts(self.mesh) == 0
            return (own if divides else function)(arrays, constants)

        return applied if self.mesh.size > 1 else function

    def _placed(self, x: Any, *, axis: int | None = None, rows: bool = True) -> Any:
        inside = jax.sharding.get_abstract_mesh()  # of a part of the mesh, where there is one
        axes = tuple(name for name in BATCH_AXES if name not in inside.manual_axes)
        if rows and x.shape[0] % math.prod(self.mesh.shape[name] for name in axes):
            return x
        spec: list[Any] = [axes if rows else None, *[None] * (x.ndim - 1)]
        if axis is not None:
            spec[axis] = "tensor"
        place = NamedSharding(inside if inside.manual_axes else self.mesh, PartitionSpec(*spec))
        return jax.lax.with_sharding_constraint(x, place)


def shape_spec(
    shape: tuple[int, ...],
    *,
    fsdp: int,
    min_elements: int,
    tensor: int = 1,
    tensor_axis: int | None = None,
) -> PartitionSpec:
    """The axes of one array: of those that divide, `fsdp` takes the largest, if that is worth it.

    Args:
        shape: of the array.
        fsdp, tensor: sizes of the mesh's axes.
        min_elements: smaller arrays are not divided.
        tensor_axis: the dimension, counted from the end, that `tensor` takes before; None for none.
    """
    if int(np.prod(shape, dtype=np.int64)) < min_elements:
        return PartitionSpec()
    spec: list[str | None] = [None] * len(shape)
    if tensor > 1 and tensor_axis is not None and -tensor_axis <= len(shape):
        if shape[tensor_axis] % tensor == 0:
            spec[tensor_axis] = "tensor"
    free = [axis for axis, length in enumerate(shape) if length and not spec[axis]]
    fitting = [axis for axis in free if shape[axis] % fsdp == 0]
    if fsdp > 1 and fitting:
        spec[max(fitting, key=lambda axis: shape[axis])] = "fsdp"
    while spec and spec[-1] is None:
        spec.pop()
    return PartitionSpec(*spec)


def shape_shardings(tree: Any, *, mesh: AnyMesh, min_elements: int = MIN_ELEMENTS) -> Any:
    """The sharding of every array of a pytree, from its shape and the end of its name alone.

    Meant for the abstract form of a whole train state (`jax.eval_shape`), so that optimiser moments
    and teachers land where their parameters are.

    Args:
        tree: any pytree of arrays or `jax.ShapeDtypeStruct`.
        mesh: a mesh with an `fsdp` axis.
        min_elements: smaller arrays are held whole by every device.
    """
    sizes: dict[str, int] = dict(fsdp=mesh.shape["fsdp"], tensor=mesh.shape["tensor"])

    def of(path: Any, leaf: Any) -> NamedSharding:
        end = tuple(jax.tree_util.keystr((key,), simple=True) for key in path[-2:])
        axis = _TENSOR_AXES.get(end)
        spec = shape_spec(leaf.shape, **sizes, min_elements=min_elements, tensor_axis=axis)
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(of, tree)


def carry_shardings(tree: Any, *, mesh: AnyMesh) -> Any:
    """The sharding of what an objective carries: arrays `[k, n, ...]` are split like batches of n.

    Others, and those whose second axis does not divide by the devices, are everywhere.
    """
    parts = batch_parts(mesh)

    def of(leaf: Any) -> NamedSharding:
        batches = leaf.ndim > 1 and leaf.shape[1] % parts == 0
        return NamedSharding(mesh, PartitionSpec(None, BATCH_AXES) if batches else PartitionSpec())

    return jax.tree.map(of, tree)


def with_shardings(tree: Any, shardings: Any) -> Any:
    """The abstract form of `tree` that says where each array lives."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )


def put_batch(batch: Mapping[str, Any], mesh: Mesh) -> dict[str, Any]:
    """The global batch on the mesh, of which each process hands in its own share.

    Args:
        batch: a pytree of arrays `[n, ...]` with the same `n`, this process's part of the global
            batch.
        mesh: the mesh; its devices divide the global batch evenly.

    Raises:
        ValueError: when the global batch does not divide by the devices.
    """
    sharding = batch_sharding(mesh)
    processes = len({device.process_index for device in mesh.devices.flat})
    for value in jax.tree.leaves(dict(batch)):
        check_global_batch_size(len(value) * processes, mesh=mesh)
    if processes == 1:
        return jax.device_put(dict(batch), sharding)
    return jax.tree.map(
        lambda value: jax.make_array_from_process_local_data(sharding, value), dict(batch)
    )
