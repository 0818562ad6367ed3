"""Tokens drawn from the few that make up most of the probability."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vlp.generation.contract import Captions, form_of
from vlp.generation.loop import write
from vlp.settings import handing_on


@handing_on(form_of)
def nucleus(
    model: Any,
    image: Any,
    *,
    keys: Key[Array, " n"],
    top_p: float = 0.9,
    top_k: int | None = None,
    temperature: float = 1.0,
    **form: Any,
) -> Captions:
    """Captions whose tokens are drawn from the nucleus of the model's distribution.

    The nucleus are the likeliest tokens, as many as it takes to reach `top_p`, one at least;
    among them the model's probabilities count, over their sum. As in transformers the temperature
    comes first, then `top_k`, then `top_p`; open_clip has the temperature last.

    Args:
        model: see `vlp.models.protocols.WritesCaptions`.
        image: `encode_image(...)`.
        keys: one a caption, so that a caption is the same whatever else is in the batch.
        top_p: share of the probability, above 0 and at most 1, which keeps all tokens.
        top_k: keep no more than so many tokens; all if not given.
        temperature: the logits are divided by it.
        **form: see `form_of`.

    Returns:
        Ids, and as scores the mean log-probability of a token (nats) under the model itself.

    Raises:
        ValueError: when a setting is out of its range; otherwise as `greedy`.

    References:
        Holtzman et al., 2020, https://arxiv.org/abs/1904.09751, section 3.1.
    """
    _check(top_p, top_k, temperature)

    def choose(logits: Float[Array, "n v"], position: Int[Array, ""]) -> Int[Array, " n"]:
        likeliest, ids = nucleus_logits(logits / temperature, top_p=top_p, top_k=top_k)
        own = jax.vmap(lambda key: jax.random.fold_in(key, position))(keys)
        drawn = jax.vmap(jax.random.categorical)(own, likeliest)
        return jnp.take_along_axis(ids, drawn[:, None], axis=1)[:, 0]

    return write(model, image, choose, **form)


def nucleus_logits(
    logits: Float[Array, "n v"], *, top_p: float, top_k: int | None
) -> tuple[Float[Array, "n k"], Int[Array, "n k"]]:
    """The likeliest tokens' logits in descending order, minus infinity behind the nucleus; and ids.

    Args:
        logits: of all tokens.
        top_p: share of the probability.
        top_k: how many at most; all if None.
    """
    size = logits.shape[1] if top_k is None else min(top_k, logits.shape[1])
    likeliest, ids = jax.lax.top_k(logits, size)
    if top_p == 1:  # not left to the rounding of a sum over the vocabulary
        return likeliest, ids
    share = jax.nn.softmax(likeliest)
    before = jnp.cumsum(share, axis=1) - share
    # The first is kept whatever rounding makes of a tiny top_p.
    kept = (before < top_p) | (jnp.arange(size) == 0)[None]
    return jnp.where(kept, likeliest, -jnp.inf), ids


def _check(top_p: float, top_k: int | None, temperature: float) -> None:
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}; try 0.9")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, or None for all tokens, got {top_k}")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f"temperature must be a finite number above 0, got {temperature}; for the likeliest "
            "tokens use greedy"
        )
