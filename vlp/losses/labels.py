"""The loss of images that may have any number of labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

NO_LABEL = -1  # what fills a row behind its labels


def label_losses(logits: Float[Array, "n k"], labels: Int[Array, "n m"]) -> Float[Array, " n"]:
    """The binary cross entropy of each image, added up over all labels, those it has and not.

    Args:
        logits: of each label.
        labels: those that each image has, once each; `NO_LABEL` fills a row.

    Returns:
        Nats, float32.

    References:
        Mehta et al., 2024 (CatLIP), https://arxiv.org/abs/2404.15653, section 3.
    """
    logits = logits.astype(jnp.float32)
    own = jnp.take_along_axis(logits, jnp.maximum(labels, 0), axis=1)
    # -log sigmoid(-x) for every label, and for an own one -log sigmoid(x), which is x less.
    return jnp.sum(jax.nn.softplus(logits), axis=1) - jnp.sum(
        jnp.where(labels == NO_LABEL, 0.0, own), axis=1
    )


def best_is_own(logits: Float[Array, "n k"], labels: Int[Array, "n m"]) -> Float[Array, " n"]:
    """1 where the label with the highest logit is one that the image has, else 0."""
    best = jnp.argmax(logits, axis=1)
    return jnp.any(labels == best[:, None], axis=1).astype(jnp.float32)
