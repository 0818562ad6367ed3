"""What the first k answers are worth where a query has several right ones: recall and nDCG."""

import numpy as np
from jaxtyping import Float, Int


def places(query: Int[np.ndarray, " p"], ranks: Int[np.ndarray, " p"]) -> Int[np.ndarray, " p"]:
    """Where each right candidate stands among all candidates of its query, 0 = first.

    Args:
      query: Of each right candidate.
      ranks: How many wrong candidates are in front of it.
    """
    order = np.lexsort((ranks, query))
    starts = np.flatnonzero(np.diff(query[order], prepend=-1))
    sizes = np.diff(starts, append=len(query))
    found = np.empty(len(query), np.int64)
    found[order] = ranks[order] + np.arange(len(query)) - np.repeat(starts, sizes)
    return found


def recall(
    query: Int[np.ndarray, " p"], place: Int[np.ndarray, " p"], *, queries: int, k: int
) -> Float[np.ndarray, " q"]:
    """The share of each query's right candidates that are among the first k; 0 without any.

    Args:
      query, place: Of each right candidate, see `places`.
      queries: How many there are.
      k: Cut-off.
    """
    total = np.bincount(query, minlength=queries)
    return np.bincount(query, place < k, queries) / np.maximum(total, 1)


def ndcg(
    query: Int[np.ndarray, " p"], place: Int[np.ndarray, " p"], *, queries: int, k: int
) -> Float[np.ndarray, " q"]:
    """The discounted gain of each query's first k over the largest there is; 0 without right ones.

    Args:
      query, place: Of each right candidate, see `places`.
      queries: How many there are.
      k: Cut-off.

    References:
      Järvelin and Kekäläinen, Cumulated Gain-Based Evaluation of IR Techniques, 2002.
    """
    gains = np.where(place < k, discount(place), 0.0)
    total = np.bincount(query, minlength=queries)
    return np.bincount(query, gains, queries) / np.maximum(_ideal(total, k), 1e-12)


def chance_of_recall(
    hits: Int[np.ndarray, " n"], candidates: int, k: int
) -> Float[np.ndarray, " n"]:
    """Chance that a random order puts at least one of `hits` right candidates among the first k.

    One minus the hypergeometric chance of none: the product of (c - h - i) / (c - i), i < k.
    """
    drawn = np.arange(min(k, candidates))
    left = np.maximum(candidates - hits[:, None] - drawn, 0)
    return 1.0 - np.prod(left / (candidates - drawn), axis=1)


def ndcg_by_chance(right: Int[np.ndarray, " q"], candidates: int, k: int) -> float:
    """What random orders give on average.

    Args:
      right: Right candidates of each query, one at least.
      candidates: How many each has.
      k: Cut-off.
    """
    drawn = discount(np.arange(min(k, candidates))).sum()
    return float(np.mean(right / candidates * drawn / _ideal(right, k)))


def discount(place: Int[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """What a right candidate at a place is worth, from 0."""
    return 1 / np.log2(place + 2.0)


def _ideal(right: Int[np.ndarray, " q"], k: int) -> Float[np.ndarray, " q"]:
    sums = np.concatenate([[0.0], np.cumsum(discount(np.arange(k)))])
    return sums[np.minimum(right, k)]
