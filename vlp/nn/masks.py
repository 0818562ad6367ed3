"""Which keys a query of an attention may see."""

from typing import Any, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

MASKED = -1e30  # finite, so that a query without any visible key gives no NaN

# True where all queries of a row may see a key, `[n s]`, or where this one may, `[n 1 q s]` (each
# axis may be 1); or how many of a row's first keys, `[n]`.
Mask: TypeAlias = Bool[Array, "n keys"] | Bool[Array, "#n 1 #queries #keys"] | Int[Array, " n"]


def visible(
    mask: Mask | None, *, causal: bool = False, queries: Any, keys: Any
) -> Bool[Array, "_ 1 _ _"] | None:
    """Any mask as one of pairs, `[n 1 q s]` with axes of 1 where all are alike; None if none is.

    `queries` and `keys` are integers, or symbolic dimensions where a tower is exported.
    """
    if mask is not None and mask.ndim == 1:
        mask = jnp.arange(keys)[None] < mask[:, None]
    if mask is not None and mask.ndim == 2:
        mask = mask[:, None, None, :]
    if not causal:
        return mask
    earlier = jnp.tril(jnp.ones((1, 1, queries, keys), bool))
    return earlier if mask is None else earlier & mask


def of_pairs(mask: Mask | None) -> bool:
    """Whether a mask says for each query what it sees."""
    return mask is not None and mask.ndim == 4
