"""Rows that a device needs of others: brought to it without all that the others have."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Int

from vlp.losses.ring import AxisName
from vlp.parallel.mesh import batch_axes


def rows_taken(tree: Any, rows: Int[Array, " n"], *, mesh: Mesh | None, own: bool = False) -> Any:
    """`x[rows]` of all arrays, each device taking those of its own part of `rows`.

    The shares of all devices travel round, and each device keeps what it was looking for when it
    comes by: never does one hold more than its own share and one more, however large the batch.

    Args:
        tree: arrays `[n, ...]`, split over the mesh as batches are.
        rows: indices in [0, n).
        mesh: None, or one device: nothing travels.
        own: every device looks for its own rows only: nothing travels either.
    """
    axes, shards = batch_axes(mesh)
    if shards == 1:
        return jax.tree.map(lambda x: jnp.take(x, rows, axis=0), tree)

    def shard(tree: Any, rows: Array) -> Any:
        return _come_by(tree, rows, axes, steps=1 if own else shards)

    split = PartitionSpec(axes)
    return jax.shard_map(shard, mesh=mesh, in_specs=split, out_specs=split)(tree, rows)


def _come_by(tree: Any, rows: Array, axes: AxisName, *, steps: int) -> Any:
    """What is looked for of this device's own share, and of those of its neighbours on one side."""
    n, devices = rows.shape[0], jax.lax.axis_size(axes)
    ring = [(device, (device + 1) % devices) for device in range(devices)]

    def looked_for(share: Any, whose: Array, found: Any) -> Any:
        places = rows - whose * n
        places = jnp.where((places >= 0) & (places < n), places, n)

        def of(x: Array, old: Array) -> Array:
            # Zeros for what is not here: gradients then need the places alone, and no masks.
            new = x.at[places].get(mode="fill", fill_value=0)
            return old | new if x.dtype == bool else old + new

        return jax.tree.map(of, share, found)

    def meet(carry: Any, step: Array) -> tuple[Any, None]:
        share, found = carry
        share = jax.lax.ppermute(share, axes, ring)
        return (share, looked_for(share, (me - step) % devices, found)), None

    me = jax.lax.axis_index(axes)
    found = looked_for(tree, me, jax.tree.map(jnp.zeros_like, tree))
    (_, found), _ = jax.lax.scan(meet, (tree, found), jnp.arange(1, steps))
    return found
