"""Blocks of images and texts that meet tile by tile while the texts travel around a ring.

For use inside `jax.shard_map`; see `vlp.losses.sharded` for what is computed on the way.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vlp.losses.similarity import Embeddings, vectors

AxisName = str | tuple[str, ...]


class Ring(NamedTuple):
    """How blocks meet.

    Attributes:
        axis_name: of the devices, inside `jax.shard_map`; None for one device.
        tile: rows and columns of a block that meet at a time.
        sums: dtype in which sums that are added up on the way travel; on a device they are float32.
    """

    axis_name: AxisName | None
    tile: int
    sums: str = "float32"

    def varying(self, x: Any) -> Any:
        """The same everywhere, as what may differ from device to device."""
        return x if self.axis_name is None else jax.lax.pcast(x, self.axis_name, to="varying")


def present_pairs(zimg: Embeddings, weight: Float[Array, " n"] | None) -> Bool[Array, " n"]:
    """Which of this device's pairs have a weight; all, if there are no weights."""
    if weight is not None:
        return weight > 0
    # Made of what varies over devices, as what is gathered or travels has to.
    z = vectors(zimg)
    return jnp.ones_like(z.reshape(len(z), -1)[:, 0], bool)


def everyone(x: Any, axis_name: AxisName | None) -> Any:
    """The rows of all devices; those that there are, where they are on one."""
    return x if axis_name is None else jax.lax.all_gather(x, axis_name, tiled=True)


def around_the_ring(
    visit: Callable, rows: Any, columns: Any, row_state: Any, column_state: Any, *, ring: Ring
) -> tuple[Any, Any]:
    """Lets the columns of every device meet the rows of every device, tile by tile.

    Args:
        visit: `(row, column, row_state, column_state) -> (row_state, column_state)` for one tile.
        rows, columns: pytrees of arrays `[n, ...]`, this device's own.
        row_state, column_state: what is accumulated for them; the latter travels with the columns.
        ring: how they meet.

    Returns:
        Both states after the last visit, back where they belong.
    """
    n = jax.tree.leaves(rows)[0].shape[0]
    count = -(-n // ring.tile)
    states = ring.varying((row_state, column_state))
    rows, columns, row_state, column_state = (
        jax.tree.map(lambda x: _tiles(x, count), tree) for tree in (rows, columns, *states)
    )

    def by_columns(column, row, column_state, row_state):
        return visit(row, column, row_state, column_state)[::-1]

    def meet(carry, _):
        row_state, columns, column_state = carry
        if ring.sums == "float32":  # this way round takes less memory
            row_state, column_state = _all_tiles(visit, rows, columns, row_state, column_state)
        else:
            column_state, row_state = _all_tiles(by_columns, columns, rows, column_state, row_state)
        columns, column_state = _to_neighbour((columns, column_state), ring.axis_name)
        return (row_state, columns, column_state), None

    carry = (row_state, columns, column_state)
    if ring.axis_name is None:
        row_state, _, column_state = meet(carry, None)[0]
    else:
        steps = jax.lax.axis_size(ring.axis_name)
        (row_state, _, column_state), _ = jax.lax.scan(meet, carry, length=steps)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:n], (row_state, column_state))


def _all_tiles(visit, outer, inner, outer_state, inner_state):
    """Visits every tile of one block of the logits, all inner ones for each outer one.

    Sums of an outer tile over these are added up in float32, whatever they travel in.
    """

    def along_outer(inner_state, tile_and_state):
        tile, state = tile_and_state

        def along_inner(state, other_and_state):
            return visit(tile, other_and_state[0], state, other_and_state[1])

        summed = jax.tree.map(lambda x: x.astype(jnp.float32), state)
        summed, inner_state = jax.lax.scan(along_inner, summed, (inner, inner_state))
        return inner_state, jax.tree.map(lambda x, y: x.astype(y.dtype), summed, state)

    inner_state, outer_state = jax.lax.scan(along_outer, inner_state, (outer, outer_state))
    return outer_state, inner_state


def _tiles(x, count):
    """`[n, ...]` as `[count, tile, ...]`, filled up with zeros, which for `present` is absent."""
    tile = -(-x.shape[0] // count)
    fill = count * tile - x.shape[0]
    x = jnp.pad(x, [(0, fill)] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(count, tile, *x.shape[1:])


def _to_neighbour(tree, axis_name):
    if axis_name is None:
        return tree
    size = jax.lax.axis_size(axis_name)
    ring = [(device, (device + 1) % size) for device in range(size)]
    return jax.lax.ppermute(tree, axis_name, ring)
