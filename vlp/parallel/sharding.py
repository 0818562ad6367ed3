"""One rule from an array's shape to its place on the mesh, for any pytree; and batches."""

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vlp.nn.edges import Machine, OfRows, edges
from vlp.parallel.mesh import AXES, AnyMesh, check_global_batch_size

# Below a quarter of a million elements (1 MiB in float32) gathering costs more than it saves.
MIN_ELEMENTS = 2**18


def replicated(mesh: AnyMesh) -> NamedSharding:
    """The sharding of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: AnyMesh) -> NamedSharding:
    """The sharding of a batch: its leading axis over every device."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def rows_kept(mesh: AnyMesh | None) -> contextlib.AbstractContextManager[None]:
    """While this holds, what is traced is for a mesh and keeps its rows where batches have them, in
    every layer.

    Without it the places of parameters win over those of rows, and a mesh whose `fsdp` axis
    divides weights gathers the tokens of the whole batch in every layer. An array whose leading
    axis does not divide by the devices is left alone; so is all on one device.
    """
    if mesh is None:
        return contextlib.nullcontext()

    def rule(x: Any) -> Any:
        inside = jax.sharding.get_abstract_mesh()  # of a part of the mesh, where there is one
        axes = tuple(name for name in AXES if name not in inside.manual_axes)
        parts = math.prod(mesh.shape[name] for name in axes)
        if mesh.size == 1 or x.ndim < 2 or x.shape[0] % parts:
            return x
        place = NamedSharding(inside if inside.manual_axes else mesh, PartitionSpec(axes))
        return jax.lax.with_sharding_constraint(x, place)

    def by_rows(function: OfRows) -> OfRows:
        spread: Any = dict(in_specs=PartitionSpec(AXES), out_specs=PartitionSpec(AXES))
        own = jax.shard_map(function, mesh=mesh, check_vma=False, **spread)

        def applied(arrays: tuple[Any, ...], constants: Any) -> Any:
            divides = arrays[0].shape[0] % math.prod(mesh.shape[name] for name in AXES) == 0
            return (own if divides else function)(arrays, constants)

        return applied if mesh.size > 1 else function

    devices = getattr(mesh, "devices", None)  # an abstract mesh has none
    platform = jax.default_backend() if devices is None else devices.flat[0].platform
    return edges(Machine(platform, rule, by_rows))


def shape_spec(shape: tuple[int, ...], *, fsdp: int, min_elements: int) -> PartitionSpec:
    """The axes of one array: its largest dimension that `fsdp` divides, if that is worth it."""
    if fsdp == 1 or int(np.prod(shape, dtype=np.int64)) < min_elements:
        return PartitionSpec()
    fitting = [axis for axis, length in enumerate(shape) if length and length % fsdp == 0]
    if not fitting:
        return PartitionSpec()
    largest = max(fitting, key=lambda axis: shape[axis])
    return PartitionSpec(*(("fsdp" if axis == largest else None) for axis in range(largest + 1)))


def shape_shardings(tree: Any, *, mesh: AnyMesh, min_elements: int = MIN_ELEMENTS) -> Any:
    """The sharding of every array of a pytree, from its shape alone.

    Meant for the abstract form of a whole train state (`jax.eval_shape`), so that optimiser moments
    and teachers land where their parameters are.

    Args:
        tree: any pytree of arrays or `jax.ShapeDtypeStruct`.
        mesh: a mesh with an `fsdp` axis.
        min_elements: smaller arrays are held whole by every device.
    """
    fsdp = mesh.shape["fsdp"]

    def of(leaf: Any) -> NamedSharding:
        return NamedSharding(mesh, shape_spec(leaf.shape, fsdp=fsdp, min_elements=min_elements))

    return jax.tree.map(of, tree)


def carry_shardings(tree: Any, *, mesh: AnyMesh) -> Any:
    """The sharding of what an objective carries: arrays `[k, n, ...]` are split like batches of n.

    Others, and those whose second axis does not divide by the devices, are everywhere.
    """
    devices = math.prod(mesh.shape[name] for name in AXES)

    def of(leaf: Any) -> NamedSharding:
        batches = leaf.ndim > 1 and leaf.shape[1] % devices == 0
        return NamedSharding(mesh, PartitionSpec(None, AXES) if batches else PartitionSpec())

    return jax.tree.map(of, tree)


def with_shardings(tree: Any, shardings: Any) -> Any:
    """The abstract form of `tree` that says where each array lives."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """The global batch on the mesh, of which each process hands in its own share.

    Args:
        batch: arrays `[n, ...]` with the same `n`, this process's part of the global batch.
        mesh: the mesh; its devices divide the global batch evenly.

    Raises:
        ValueError: when the global batch does not divide by the devices.
    """
    sharding = batch_sharding(mesh)
    processes = len({device.process_index for device in mesh.devices.flat})
    for value in batch.values():
        check_global_batch_size(len(value) * processes, mesh=mesh)
    if processes == 1:
        return jax.device_put(dict(batch), sharding)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }
