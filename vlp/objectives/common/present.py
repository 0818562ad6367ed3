"""Encoding of a modality that not every row of a batch has."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vlp.objectives.common.micro_batches import AT_ONCE, MicroBatches


def encode_present(
    model: Any,
    batch: Mapping[str, Array],
    name: str,
    *,
    most: int | None,
    shards: int = 1,
    micro: MicroBatches = AT_ONCE,
) -> Float[Array, "n d"]:
    """The embeddings of one modality; what those of rows without it are does not matter.

    The tower sees a fixed number of each device's rows, those that have the modality first, so
    that a batch of which half has sounds costs half of the audio tower.

    Args:
        most: rows of a device that may have it; None for all.
        shards: devices that the batch is split over; rows change places within their device.
        micro: how many rows are encoded at a time.
    """

    def encode(model, inputs):
        return model.encode(name, inputs).embedding

    inputs, present = batch[name], batch[f"present/{name}"]
    n = present.shape[0] // shards
    if most is None or most >= n:
        return micro(encode, model, inputs)
    order = jnp.argsort(~present.reshape(shards, n), axis=1, stable=True)[:, :most]

    def take(rows: Array, places: Array) -> Array:
        return rows[places]

    def put(rows: Array, places: Array) -> Array:
        return jnp.zeros((n, rows.shape[1]), rows.dtype).at[places].set(rows)

    seen = jax.vmap(take)(inputs.reshape(shards, n, *inputs.shape[1:]), order)
    z = micro(encode, model, seen.reshape(shards * most, *inputs.shape[1:]))
    return jax.vmap(put)(z.reshape(shards, most, -1), order).reshape(shards * n, -1)
