"""Scores and ranks, with ties counted against the model."""

import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

TIE_TOLERANCE = 1e-6
"""Scores closer than this are a tie: the float32 rounding error of a dot product of unit vectors.

Without it a collapsed model (every embedding the same) would win by whichever way a matrix
product happens to round at the edge of a tile.
"""


def scores(
    queries: Float[Array | np.ndarray, "n *q d"],
    candidates: Float[Array | np.ndarray, "*m d"],
    *,
    product: Callable[[Any, Any], Any] = operator.matmul,
) -> Any:
    """The inner products of all queries with all candidates, or with the one there is.

    Where one of the two are several vectors each, as the queries of BLIP-2 make of an image, it is
    the largest of their products.

    Args:
      queries: `[n, d]`, or `[n, q, d]`.
      candidates: `[m, d]`, or `[m, q, d]`; or a single vector `[d]`.
      product: Of matrices.
    """
    if candidates.ndim > queries.ndim:
        return scores(candidates, queries, product=product).T
    found = product(queries, candidates.T)
    return found if queries.ndim == 2 else found.max(axis=1)


def score_ranks(
    scores: Float[Array | np.ndarray, "n m"],
    is_true: Bool[Array | np.ndarray, "n m"],
    *,
    tolerance: float = 0.0,
) -> Int[Array, " n"]:
    """Rank of each query's best true candidate, 0 = first, ties counted against the model.

    The rank is the number of false candidates that do not score below the best true one. A query
    without a true candidate, or with NaN scores, gets the worst rank.

    Args:
      scores: Rows are queries, columns candidates; higher is better.
      is_true: Which candidates are right for which query; any number in a row.
      tolerance: A false candidate this close below the true one counts as a tie.

    Returns:
      Ranks in 0..m.

    Examples:
      >>> score_ranks(np.array([[0.5, 0.5, 0.1]]), np.array([[True, False, False]])).tolist()
      [1]
    """
    best = _best_true(jnp.asarray(scores), jnp.asarray(is_true))
    return _not_below(jnp.asarray(scores), ~jnp.asarray(is_true), best - tolerance)


def _best_true(scores: Array, is_true: Array) -> Array:
    return jnp.max(scores, axis=1, initial=-jnp.inf, where=is_true)


def _not_below(scores: Array, counted: Array, threshold: Array) -> Array:
    # "not below" instead of "at least": NaN, on either side, then counts against the model.
    return jnp.sum(counted & ~(scores < threshold[:, None]), axis=1, dtype=jnp.int32)
