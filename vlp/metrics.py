"""Ranks, recall and accuracy of scores, with ties counted against the model."""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
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


def ranks(
    queries: Float[Array | np.ndarray, "n *q d"],
    candidates: Float[Array | np.ndarray, "m *r d"],
    *,
    query_labels: Int[Array | np.ndarray, " n"],
    candidate_labels: Int[Array | np.ndarray, " m"],
    query_chunk: int = 1024,
    candidate_chunk: int = 8192,
    tolerance: float = TIE_TOLERANCE,
) -> Int[Array, " n"]:
    """`score_ranks` of `scores(queries, candidates)` without ever holding the whole matrix.

    A candidate is right for a query when their labels are equal, so that one function serves
    text to image (one right image), image to text (several captions) and classification.

    Args:
      queries: Embeddings, unit norm unless `tolerance` is chosen for another scale; they or the
        candidates may be several vectors each.
      candidates: Embeddings of the gallery.
      query_labels: One label a query.
      candidate_labels: One label a candidate.
      query_chunk: Queries scored at once.
      candidate_chunk: Candidates scored at once; query_chunk * candidate_chunk float32 are held.
      tolerance: See `score_ranks`.

    Returns:
      Ranks in 0..m.

    Raises:
      ValueError: If there are no candidates or a chunk is not positive.
    """
    if candidates.shape[0] == 0:
        raise ValueError("ranks needs at least one candidate, got 0; is the gallery empty?")
    if query_chunk < 1 or candidate_chunk < 1:
        raise ValueError(
            f"chunks must be positive, got query_chunk={query_chunk}, "
            f"candidate_chunk={candidate_chunk}; leave them out for the defaults"
        )
    if queries.shape[0] == 0:
        return jnp.zeros((0,), jnp.int32)
    return _chunked_ranks(
        jnp.asarray(queries, jnp.float32),
        jnp.asarray(candidates, jnp.float32),
        jnp.asarray(query_labels, jnp.int32),
        jnp.asarray(candidate_labels, jnp.int32),
        jnp.float32(tolerance),
        query_chunk=min(query_chunk, queries.shape[0]),
        candidate_chunk=min(candidate_chunk, candidates.shape[0]),
    )


def recall_at_k(ranks: Int[Array | np.ndarray, " n"], k: int) -> Float[Array, ""]:
    """Share of queries whose rank is below k, in 0..1; NaN without queries.

    Raises:
      ValueError: If k is not positive.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}; recall@1 is the share of first places")
    return jnp.mean(jnp.asarray(ranks) < k, dtype=jnp.float32)


def accuracy(
    logits: Float[Array | np.ndarray, "n k"],
    labels: Int[Array | np.ndarray, " n"],
    *,
    top: int = 1,
) -> Float[Array, ""]:
    """Share of rows whose labelled class is among the `top` highest; a tie counts as a miss."""
    classes = jnp.arange(logits.shape[1], dtype=jnp.int32)
    is_true = jnp.asarray(labels, jnp.int32)[:, None] == classes[None, :]
    return recall_at_k(score_ranks(logits, is_true), top)


def mean_per_class_recall(
    correct: Bool[Array | np.ndarray, " n"],
    labels: Int[Array | np.ndarray, " n"],
    *,
    num_classes: int,
) -> Float[Array, ""]:
    """Mean over the classes that occur of the share of their examples that are correct."""
    labels = jnp.asarray(labels, jnp.int32)
    total = jnp.bincount(labels, length=num_classes).astype(jnp.float32)
    hits = jnp.bincount(labels, jnp.asarray(correct, jnp.float32), length=num_classes)
    present = total > 0
    recall = jnp.where(present, hits / jnp.maximum(total, 1.0), 0.0)
    return jnp.sum(recall) / jnp.sum(present, dtype=jnp.float32)


def _best_true(scores: Array, is_true: Array) -> Array:
    return jnp.max(scores, axis=1, initial=-jnp.inf, where=is_true)


def _not_below(scores: Array, counted: Array, threshold: Array) -> Array:
    # "not below" instead of "at least": NaN, on either side, then counts against the model.
    return jnp.sum(counted & ~(scores < threshold[:, None]), axis=1, dtype=jnp.int32)


@partial(jax.jit, static_argnames=("query_chunk", "candidate_chunk"))
def _chunked_ranks(
    queries: Array,
    candidates: Array,
    query_labels: Array,
    candidate_labels: Array,
    tolerance: Array,
    *,
    query_chunk: int,
    candidate_chunk: int,
) -> Array:
    real = _cut(jnp.ones(candidates.shape[0], bool), candidate_chunk)
    gallery = (_cut(candidates, candidate_chunk), _cut(candidate_labels, candidate_chunk), real)

    def rank_queries(chunk: tuple[Array, Array]) -> Array:
        query, label = chunk

        def score(block: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            candidate, candidate_label, is_real = block
            # Highest precision: TF32 or bfloat16 products would make ties of close scores.
            exact = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
            found = scores(query, candidate, product=exact)
            same = label[:, None] == candidate_label[None, :]
            return found, same & is_real[None, :], ~same & is_real[None, :]

        def best_step(best: Array, block: tuple[Array, Array, Array]) -> tuple[Array, None]:
            found, is_true, _ = score(block)
            return jnp.maximum(best, _best_true(found, is_true)), None

        def count_step(count: Array, block: tuple[Array, Array, Array]) -> tuple[Array, None]:
            found, _, is_false = score(block)
            return count + _not_below(found, is_false, best - tolerance), None

        lowest = jnp.full(query.shape[0], -jnp.inf, jnp.float32)
        best, _ = jax.lax.scan(best_step, lowest, gallery)
        count, _ = jax.lax.scan(count_step, jnp.zeros(query.shape[0], jnp.int32), gallery)
        return count

    chunks = (_cut(queries, query_chunk), _cut(query_labels, query_chunk))
    return jax.lax.map(rank_queries, chunks).reshape(-1)[: queries.shape[0]]


def _cut(x: Array, size: int) -> Array:
    """Rows of `x` in chunks, [n, ...] -> [ceil(n / size), size, ...], zeros at the end."""
    missing = -x.shape[0] % size
    padded = jnp.pad(x, ((0, missing), *((0, 0) for _ in x.shape[1:])))
    return padded.reshape(-1, size, *x.shape[1:])
