"""Work that each part of a mesh's `data` axis does on its own rows, and that is added up once."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import PartitionSpec

from vlp.nn.edges import in_parts
from vlp.parallel.mesh import AnyMesh

AXIS = "data"
OfRows = Callable[[Any, Any], Any]


def own_rows(
    function: Callable[[Any, Any], Any], mesh: AnyMesh | None, *, axes: Sequence[str] = (AXIS,)
) -> Callable[[Any, Any], Any]:
    """`function(everywhere, rows)` where each part of the mesh sees its own rows only.

    However often the function uses `everywhere`, in a loop too, its gradient is added up over these
    axes once, when the function is done. Over other axes all is as without this. Rows that do not
    divide are left to the compiler, and so is all inside one part.

    Args:
        function: of a pytree that is everywhere the same and one of arrays `[n, ...]`, to such
            arrays.
        mesh: whose parts; None, or one that has one part, leaves the function alone.
        axes: of the mesh.
    """
    sizes = {} if mesh is None or in_parts() else mesh.shape
    axes = tuple(axis for axis in axes if sizes.get(axis, 1) > 1)
    if not axes:
        return function

    def own(everywhere: Any, rows: Any) -> Any:
        everywhere = jax.tree.map(lambda x: jax.lax.pcast(x, axes, to="varying"), everywhere)
        return function(everywhere, rows)

    spread = jax.shard_map(
        own,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(axes)),
        out_specs=PartitionSpec(axes),
        axis_names=set(axes),
    )
    count = math.prod(sizes[axis] for axis in axes)

    def shared(everywhere: Any, rows: Any) -> Any:
        divides = jax.tree.leaves(rows)[0].shape[0] % count == 0
        return (spread if divides else function)(everywhere, rows)

    return shared


def parts(mesh: AnyMesh | None) -> int:
    """Into how many parts `own_rows` divides the rows."""
    return 1 if mesh is None else mesh.shape.get(AXIS, 1)
