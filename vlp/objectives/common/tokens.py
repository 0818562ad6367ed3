"""From losses a text to losses a token of the global batch, and how many tokens were right."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vlp.losses.language import target_tokens


def token_shares(
    targets: Int[Array, "n l"], *, pad_id: int, weight: Float[Array, " n"]
) -> Float[Array, " n"]:
    """Targets of each text over their mean in the batch: turns means a text to means a token.

    Args:
        targets: tokens to be predicted, `pad_id` where nothing is asked.
        pad_id: of no target.
        weight: texts of weight 0 do not count.
    """
    tokens = jnp.sum(target_tokens(targets, pad_id=pad_id), axis=1).astype(jnp.float32)
    present = jnp.where(weight > 0, weight, 0.0)
    total = jnp.sum(present * tokens)
    mean = total / jnp.maximum(jnp.sum(present), jnp.finfo(jnp.float32).tiny)
    return tokens / jnp.where(total > 0, mean, 1.0)


def share_correct(
    logits: Float[Array, "n l v"], targets: Int[Array, "n l"], *, pad_id: int
) -> Float[Array, " n"]:
    """Of each text's targets those that are the likeliest token; no gradient."""
    present = target_tokens(targets, pad_id=pad_id)
    hits = present & (jnp.argmax(jax.lax.stop_gradient(logits), axis=2) == targets)
    count = jnp.maximum(jnp.sum(present, axis=1), 1).astype(jnp.float32)
    return jnp.sum(hits, axis=1).astype(jnp.float32) / count
