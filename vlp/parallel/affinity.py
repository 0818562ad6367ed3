"""The affinity loss over the global batch, however that batch is spread over devices."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from vlp.losses import affinity_loss
from vlp.parallel.contrastive import batch_axes, check_divides


def affinity_over(mesh: Mesh | None) -> Callable[..., Float[Array, " n"]]:
    """A function with the signature of the dense `affinity_loss`, over global arrays.

    The embeddings of all pairs come to every device, which holds N / devices rows of each matrix.

    Args:
        mesh: the batch is taken to be split over its axes "data" and "fsdp"; None means one device.

    Raises:
        ValueError: the returned function raises it when the batch does not divide by the devices.
    """
    axes, shards = batch_axes(mesh)
    if mesh is None or shards == 1:
        return affinity_loss
    split = PartitionSpec(axes)

    def shard(pairs: Any, weight: Any, scales: Any) -> Float[Array, " n"]:
        return affinity_loss(**pairs, **scales, weight=weight, axis_name=axes)

    spread = jax.shard_map(
        shard, mesh=mesh, in_specs=(split, split, PartitionSpec()), out_specs=split
    )

    def loss(
        zimg: Array,
        ztxt: Array,
        *,
        teacher_zimg: Array,
        teacher_ztxt: Array,
        weight: Array | None = None,
        **scales: Any,
    ) -> Float[Array, " n"]:
        check_divides(zimg.shape[0], shards)
        pairs = dict(zimg=zimg, ztxt=ztxt, teacher_zimg=teacher_zimg, teacher_ztxt=teacher_ztxt)
        return spread(pairs, weight, scales)

    return loss
