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


def correct(
    logits: Float[Array, "n l v"], targets: Int[Array, "n l"], *, pad_id: int
) -> Float[Array, "n l"]:
    """1 where a target is the likeliest token, 0 elsewhere; no gradient."""
    hits = jnp.argmax(jax.lax.stop_gradient(logits), axis=2) == targets
    return (target_tokens(targets, pad_id=pad_id) & hits).astype(jnp.float32)
