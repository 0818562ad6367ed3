"""The affinity loss over the global batch, however that batch is spread over devices."""

from collections.abc import Callable
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array, Float

from vlp.losses import affinity_loss
from vlp.parallel.contrastive import over_mesh
from vlp.parallel.mesh import batch_parts, check_divides


def affinity_over(mesh: Mesh | None) -> Callable[..., Float[Array, " n"]]:
    """A function with the signature of the dense `affinity_loss`, over global arrays.

    The embeddings of all pairs come to every device, which holds N / devices rows of each matrix.

    Args:
        mesh: the batch is taken to be split over its axes "data" and "fsdp"; None means one device.

    Raises:
        ValueError: the returned function raises it when the batch does not divide by the devices.
    """
    shards = batch_parts(mesh)
    if mesh is None or shards == 1:
        return affinity_loss

    def loss(
        zimg: Array, ztxt: Array, *, scale: Any, teacher_scale: Any, **rows: Any
    ) -> Float[Array, " n"]:
        check_divides(zimg.shape[0], shards)
        scales = dict(scale=scale, teacher_scale=teacher_scale)
        return over_mesh(affinity_loss, mesh)(dict(zimg=zimg, ztxt=ztxt, **rows), scales)

    return loss
