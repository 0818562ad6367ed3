"""The softmax and sigmoid losses for one shard of the batch, inside `jax.shard_map`.

All texts come to every device, which then has its own rows of the logits, `[n, N]`. Rows are
normalised locally; the columns' sums of exponentials are added up across devices. Plain autodiff.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vlp.losses.ring import AxisName, everyone, present_pairs
from vlp.losses.similarity import (
    MASKED,
    Embeddings,
    Similarity,
    mean_of,
    own_similarity,
    similarities,
)
from vlp.losses.softmax import own_cross_entropy


def gathered_softmax_loss(
    zimg: Embeddings,
    ztxt: Embeddings,
    *,
    axis_name: AxisName,
    scale: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
    similarity: Similarity = "dot",
    positives: Int[Array, " n"] | None = None,
) -> Float[Array, " n"]:
    """`softmax_loss` of this shard's pairs against those of all shards of `axis_name`."""
    present = present_pairs(zimg, weight)
    candidates = everyone(present, axis_name)
    ways = similarities(similarity, zimg, everyone(ztxt, axis_name))
    ways = tuple(scale * x for x in ways)
    both = present[:, None] & candidates[None, :]
    ways = tuple(jnp.where(both, x, MASKED) for x in ways)
    to_texts, to_images = ways[0], ways[-1]
    over_texts = jax.nn.logsumexp(to_texts, axis=1)
    top = jax.lax.pmax(jax.lax.stop_gradient(jnp.max(to_images, axis=0)), axis_name)
    over_images = jnp.log(_scattered(jnp.exp(to_images - top[None, :]), axis_name))
    over_images = over_images + _own_part(top, present.shape[0], axis_name)
    if positives is None:
        own = scale * own_similarity(similarity, zimg, ztxt)
    else:
        same = both & _same_group(positives, axis_name)
        to_texts, to_images = (jnp.where(same, x, 0.0) for x in (to_texts, to_images))
        size = jnp.maximum(jnp.sum(same, axis=1), 1).astype(jnp.float32)
        own = 0.5 * (jnp.sum(to_texts, axis=1) + _scattered(to_images, axis_name)) / size
    return jnp.where(present, own_cross_entropy(own, over_texts, over_images), 0.0)


def gathered_sigmoid_loss(
    zimg: Embeddings,
    ztxt: Embeddings,
    *,
    axis_name: AxisName,
    scale: Float[Array, ""] | float,
    bias: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
    similarity: Similarity = "dot",
    positives: Int[Array, " n"] | None = None,
) -> Float[Array, " n"]:
    """`sigmoid_loss` of this shard's images against the texts of all shards of `axis_name`."""
    present = present_pairs(zimg, weight)
    logits = scale * mean_of(similarities(similarity, zimg, everyone(ztxt, axis_name))) + bias
    candidates = everyone(present, axis_name)[None, :]
    losses = jnp.where(candidates, jax.nn.softplus(logits), 0.0)
    if positives is None:
        own = scale * own_similarity(similarity, zimg, ztxt) + bias
    else:
        same = candidates & _same_group(positives, axis_name)
        own = jnp.sum(jnp.where(same, logits, 0.0), axis=1)
    return jnp.where(present, jnp.sum(losses, axis=1) - own, 0.0)


def _same_group(groups: Int[Array, " n"], axis_name: AxisName) -> Bool[Array, "n m"]:
    return groups[:, None] == everyone(groups, axis_name)[None, :]


def _scattered(rows: Float[Array, "n m"], axis_name: AxisName) -> Float[Array, " n"]:
    """The sums of the columns over all devices' rows, of this device's own texts."""
    return jax.lax.psum_scatter(jnp.sum(rows, axis=0), axis_name, tiled=True)


def _own_part(x: Float[Array, " m"], n: int, axis_name: AxisName) -> Float[Array, " n"]:
    return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(axis_name) * n, n)
