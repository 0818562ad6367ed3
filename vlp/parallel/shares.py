"""Work that each part of a mesh's `data` axis does on its own rows, and that is added up once."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

from vlp.parallel.sharding import AnyMesh

AXIS = "data"
OfRows = Callable[[Any, Any], Any]


def own_rows(
    function: Callable[[Any, Any], Any], mesh: AnyMesh | None
) -> Callable[[Any, Any], Any]:
    """`function(everywhere, rows)` where each part of the axis `data` sees its own rows only.

    However often the function uses `everywhere`, in a loop too, its gradient is added up over that
    axis once, when the function is done. Over the axis `fsdp` all is as without this.

    Args:
        function: of a pytree that is everywhere the same and one of arrays `[n, ...]`, to such
            arrays.
        mesh: whose parts; None, or one whose axis `data` is absent or 1, leaves the function alone.
    """
    if parts(mesh) == 1:
        return function

    def own(everywhere: Any, rows: Any) -> Any:
        everywhere = jax.tree.map(lambda x: jax.lax.pcast(x, AXIS, to="varying"), everywhere)
        return function(everywhere, rows)

    return jax.shard_map(
        own,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=PartitionSpec(AXIS),
        axis_names={AXIS},
    )


def parts(mesh: AnyMesh | None) -> int:
    """Into how many parts `own_rows` divides the rows."""
    return 1 if mesh is None else mesh.shape.get(AXIS, 1)
