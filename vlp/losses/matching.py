"""Do an image and a text belong together? The loss, and the pairs that are hard to tell."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key


def matching_loss(logits: Float[Array, "k 2"], matches: Bool[Array, " k"]) -> Float[Array, " k"]:
    """Each pair's cross entropy between "no match" (column 0) and "match", nats, float32.

    References:
        Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651, equation 4.
    """
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32), axis=1)
    return -jnp.where(matches, log_probabilities[:, 1], log_probabilities[:, 0])


def hard_negatives(
    scores: Float[Array, "n m"],
    *,
    allowed: Bool[Array, "n m"],
    keys: Key[Array, " n"] | None,
    floor: float = 0.0,
) -> tuple[Int[Array, " n"], Bool[Array, " n"]]:
    """For every row a column that is mistaken for its match, and whether there was one.

    Args:
        scores: scaled similarities; no gradient flows.
        allowed: False for true matches and for what is no candidate.
        keys: one a row: draws a column with probability `softmax(scores) + floor`, taken over all
            columns, among those allowed. None takes the allowed column of the highest score.
        floor: added to the probabilities (BLIP: 1e-4).

    Returns:
        Column indices in [0, m), and False where no column is allowed (the index means nothing).

    References:
        Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651, section 3.2. The paper says "one
        with the highest similarity is more likely", its code samples; BLIP's code has the floor.
    """
    logits = jax.nn.log_softmax(jax.lax.stop_gradient(scores).astype(jnp.float32), axis=1)
    if floor:
        logits = jnp.logaddexp(logits, jnp.log(jnp.float32(floor)))
    logits = jnp.where(allowed, logits, -jnp.inf)
    found = jnp.any(allowed, axis=1)
    logits = jnp.where(found[:, None], logits, 0.0)
    if keys is None:
        return jnp.argmax(logits, axis=1), found
    return jax.vmap(jax.random.categorical)(keys, logits), found
