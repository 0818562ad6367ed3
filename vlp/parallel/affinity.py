"""The affinity loss over the global batch, however that batch is spread over devices."""

from collections.abc import Callable
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array, Float

from vlp.losses import affinity_loss
from vlp.parallel.contrastive import as_operands, over_mesh
from vlp.parallel.mesh import batch_parts, check_divides

_NAMES = ("zimg", "ztxt", "teacher_zimg", "teacher_ztxt")


def affinity_over(
    mesh: Mesh | None, *, operands: str = "model"
) -> Callable[..., Float[Array, " n"]]:
    """A function with the signature of the dense `affinity_loss` and `dtype`, over global arrays.

    The embeddings of all pairs come to every device, which holds N / devices rows of each matrix.

    Args:
        mesh: the batch is taken to be split over its axes "data" and "fsdp"; None means one device.
        operands: as in `vlp.parallel.contrastive.contrastive_loss`, of the teacher's too.

    Raises:
        ValueError: the returned function raises it when the batch does not divide by the devices.
    """
    shards = batch_parts(mesh)

    def loss(
        zimg: Array,
        ztxt: Array,
        *,
        teacher_zimg: Array,
        teacher_ztxt: Array,
        scale: Any,
        teacher_scale: Any,
        weight: Array | None = None,
        dtype: str | None = None,
    ) -> Float[Array, " n"]:
        whole = (zimg, ztxt, teacher_zimg, teacher_ztxt)
        embeddings = as_operands(whole, operands=operands, dtype=dtype)
        rows = dict(zip(_NAMES, embeddings, strict=True), weight=weight)
        scales = dict(scale=scale, teacher_scale=teacher_scale)
        if mesh is None or shards == 1:
            return affinity_loss(**rows, **scales)
        check_divides(zimg.shape[0], shards)
        return over_mesh(affinity_loss, mesh)(rows, scales)

    return loss
