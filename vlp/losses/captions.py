"""Several captions of an image: all of them are right, and none is a negative of its image."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def mean_over_captions(
    loss: Callable[..., Float[Array, " n"]],
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n k d"],
    *,
    present: Bool[Array, "n k"],
    weight: Float[Array, " n"],
    **parameters: Any,
) -> Float[Array, " n"]:
    """The mean of a contrastive loss over each image's captions.

    The images meet the first captions of all, then the second ones, and so on: an image's negatives
    are the captions of others at the same place, its own other captions never. Every image counts
    as much as any other, however many captions it has; where only some have as many, these alone
    are each other's negatives.

    Args:
        loss: such as `softmax_loss` or `sigmoid_loss`, 0 where a pair's weight is 0.
        zimg, ztxt: unit-norm embeddings.
        present: which captions there are; at the others embeddings may be anything finite.
        weight: of the images, as `loss` takes it.
        **parameters: of `loss`.

    Returns:
        Per-image loss in nats, float32; 0 where an image has no weight or no caption.

    References:
        Liu et al., 2024 (CLIPS), https://arxiv.org/abs/2411.16828 (their code's `CLIPSLoss`, of two
        captions); Zheng et al., 2024 (DreamLIP), https://arxiv.org/abs/2403.17007 (the first term
        of their code's `ClipLoss`, of any number).
    """
    each = (
        loss(zimg, ztxt[:, j], weight=jnp.where(present[:, j], weight, 0.0), **parameters)
        for j in range(ztxt.shape[1])
    )
    count = jnp.maximum(jnp.sum(present, axis=1), 1).astype(jnp.float32)
    return functools.reduce(operator.add, each) / count
