"""Functions of rows that each device applies to its own: for what the compiler cannot divide."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import PartitionSpec

from vlp.nn.edges import OfRows
from vlp.parallel.mesh import AXES, AnyMesh


def each_its_rows(function: OfRows, mesh: AnyMesh) -> OfRows:
    """The function where each device has its own rows of all arrays, forwards and backwards.

    Rows that do not divide by the devices are left to the compiler, and so are those on one device.
    """

    def applied(arrays: tuple[Any, ...], constants: Any) -> Any:
        inside = jax.sharding.get_abstract_mesh()
        axes = tuple(name for name in AXES if name not in inside.manual_axes)
        if mesh.size == 1 or arrays[0].shape[0] % parts_of(mesh, axes):
            return function(arrays, constants)
        rows = PartitionSpec(axes)
        spread = functools.partial(
            jax.shard_map,
            mesh=inside if inside.manual_axes else mesh,
            axis_names=set(axes),
            out_specs=rows,
            check_vma=False,
        )
        if not inside.manual_axes:
            return spread(function, in_specs=rows)(arrays, constants)
        return _in_a_part(function, spread, rows, tuple(inside.manual_axes))(arrays, constants)

    return applied


def _in_a_part(function: OfRows, spread: Any, rows: PartitionSpec, part: tuple[str, ...]) -> OfRows:
    """The same inside one part of a mesh, over the rest of its axes.

    Parts differ in their rows, which what cannot be divided does not say of its results: here it is
    said, for gradients too, so that they are found from the inputs alone.
    """

    def told(x: Any) -> Any:
        return jax.tree.map(lambda y: jax.lax.pcast(y, part, to="varying"), x)

    @jax.custom_vjp
    def whole(arrays: tuple[Any, ...], constants: Any) -> Any:
        return told(spread(function, in_specs=rows)(arrays, constants))

    def forward(arrays: tuple[Any, ...], constants: Any) -> Any:
        return whole(arrays, constants), (arrays, constants)

    def backward(inputs: Any, slopes: Any) -> Any:
        def gradients(arrays: tuple[Any, ...], constants: Any, slopes: Any) -> Any:
            return jax.vjp(lambda arrays: function(arrays, constants), arrays)[1](slopes)[0]

        return told(spread(gradients, in_specs=rows)(*inputs, slopes)), None

    whole.defvjp(forward, backward)
    return whole


def parts_of(mesh: AnyMesh, axes: Sequence[str]) -> int:
    """Into how many parts these axes divide a batch."""
    return math.prod(mesh.shape[name] for name in axes)
