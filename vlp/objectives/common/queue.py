"""The last features of a teacher, kept over steps: a first-in first-out queue of whole batches."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Queue = dict[str, Any]


def empty_queue(*, size: int, global_batch_size: int, embed_dim: int) -> Queue:
    """A queue without features.

    Its arrays are `[batches, pairs of a batch, ...]`: over devices it is split like a batch, along
    the second axis, and taking in a batch moves nothing between them. The authors fill it with
    random vectors at the start; here what is not there yet is no candidate.

    Args:
        size: pairs; 0 for none at all.
        global_batch_size: pairs of a batch, which `size` must be a multiple of.
        embed_dim: width of the features.

    Raises:
        ValueError: when the size does not divide.

    References:
        Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651, section 3.2.
    """
    if size < 0 or size % global_batch_size:
        lower = max(size // global_batch_size, 0) * global_batch_size
        raise ValueError(
            f"queue_size must be a multiple of global_batch_size {global_batch_size}, got {size}; "
            f"try {lower} or {lower + global_batch_size}"
        )
    shape = (size // global_batch_size, global_batch_size)
    return {
        "zimg": jnp.zeros((*shape, embed_dim), jnp.float32),
        "ztxt": jnp.zeros((*shape, embed_dim), jnp.float32),
        "present": jnp.zeros(shape, bool),
        "batches": jnp.zeros((), jnp.int32),
    }


def features(queue: Queue) -> tuple[Float[Array, "q d"], Float[Array, "q d"], Bool[Array, " q"]]:
    """All image features, text features, and which of them are there."""
    zimg, ztxt = queue["zimg"], queue["ztxt"]
    width = zimg.shape[-1]
    return zimg.reshape(-1, width), ztxt.reshape(-1, width), queue["present"].reshape(-1)


def enqueue(
    queue: Queue,
    *,
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n d"],
    present: Bool[Array, " n"],
) -> Queue:
    """The queue with a batch in place of its oldest."""
    size = queue["present"].shape[0]
    count = queue["batches"] + 1
    if size == 0:
        return queue | {"batches": count}
    place = queue["batches"] % size

    def put(name: str, batch: Array) -> Array:
        return jax.lax.dynamic_update_index_in_dim(queue[name], batch, place, axis=0)

    batch = {"zimg": zimg, "ztxt": ztxt, "present": present}
    return {name: put(name, value) for name, value in batch.items()} | {"batches": count}
