"""Questions with candidates of their own: whether the right ones win, by three rules for ties."""

from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from vlp.metrics import TIE_TOLERANCE


class Won(NamedTuple):
    """Whether a right candidate wins.

    Attributes:
      lost: with every tie lost, and with NaN anywhere.
      hit: with every tie won.
      first: as `argmax` has it, which takes the first of equal scores.
    """

    lost: bool
    hit: bool
    first: bool

    def __and__(self, other: "Won") -> "Won":
        return Won(*(bool(a and b) for a, b in zip(self, other, strict=True)))


def won(scores: Float[np.ndarray, " c"], right: Bool[np.ndarray, " c"]) -> Won:
    """Whether a right candidate has the highest score.

    Args:
      scores: Of the candidates, one at least.
      right: Which of them are right, one at least.
    """
    best = scores[right].max()
    wrong = scores[~right]
    if np.isnan(best):
        return Won(False, False, bool(right[scores.argmax()]))
    return Won(
        bool((wrong < best - TIE_TOLERANCE).all()),
        not (wrong > best + TIE_TOLERANCE).any(),
        bool(right[scores.argmax()]),
    )


def each_row(scores: Float[np.ndarray, "i j"], right: Bool[np.ndarray, "i j"]) -> Won | None:
    """Whether in all rows that have a right candidate it wins; None where none is asked.

    A row with one candidate asks nothing.
    """
    asked = right.any(axis=1)
    if scores.shape[1] < 2 or not asked.any():
        return None
    found = Won(True, True, True)
    for row in np.flatnonzero(asked):
        found &= won(scores[row], right[row])
    return found


def rows_by_chance(right: Bool[np.ndarray, "i j"]) -> float:
    """The chance that random scores let the right candidates win in all rows that have one."""
    share = right.mean(axis=1)
    return float(np.prod(share[share > 0]))


def both_by_chance(right: Bool[np.ndarray, "i j"]) -> float:
    """The chance of rows and columns together; NaN where that is more than a short sum.

    Of two pictures and two texts, one right of each: with four random scores the two right ones are
    the largest two in one of six orders, and else one row or column is lost.
    """
    if right.shape == (2, 2) and (right.sum(axis=0) == 1).all() and (right.sum(axis=1) == 1).all():
        return 1 / 6
    if 1 in right.shape:
        return rows_by_chance(right if right.shape[0] == 1 else right.T)
    return float("nan")


def picked(scores: Float[np.ndarray, " c"], right: Bool[np.ndarray, " c"]) -> tuple[int, int, int]:
    """How many right candidates are among the best, as many as there are right ones.

    Args:
      scores: Of the candidates.
      right: Which of them are right.

    Returns:
      With every tie lost, with every tie won, and as `argsort` has it, whose last are taken.
    """
    count = int(right.sum())
    order = np.argsort(scores, kind="stable")
    by_order = int(right[order[len(order) - count :]].sum())
    own = scores[right & ~np.isnan(scores)]
    own = np.sort(own)[::-1, None]
    wrong = scores[~right]
    in_front = (~(wrong < own - TIE_TOLERANCE), wrong > own + TIE_TOLERANCE)
    places = (front.sum(axis=1) + np.arange(len(own)) for front in in_front)
    lost, hit = (int((place < count).sum()) for place in places)
    return lost, hit, by_order


def jaccard(hits: int, right: int) -> float:
    """The overlap of two choices of as many, over their union."""
    return hits / (2 * right - hits)


def jaccard_by_chance(candidates: int, right: int) -> float:
    """What a random choice of as many as there are right ones gives on average."""
    ways = comb(candidates, right)
    wrong = candidates - right
    return sum(
        comb(right, hits) * comb(wrong, right - hits) / ways * jaccard(hits, right)
        for hits in range(right + 1)
    )
