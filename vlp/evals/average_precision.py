"""Average precision: how far in front the samples of a class stand that have it."""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from vlp.evals.measures import EITHER, OCCURRING, Measure, Weights
from vlp.metrics import TIE_TOLERANCE
from vlp.settings import check_choice


def mean_average_precision(
    scores: Float[np.ndarray, "n k"], truth: Bool[np.ndarray, "n k"], *, over: str = EITHER
) -> Measure:
    """The mean over classes of average precision, ties lost: the wrong ones stand in front.

    A score that is NaN is in front of all where it is wrong, and adds nothing where it is right.

    Args:
      scores: Of each sample and class.
      truth: Which samples have which class.
      over: "either": all classes, those that no sample has as 0, as CLIP_benchmark; "occurring":
        without these.

    Raises:
      ValueError: `over` is neither.
    """
    check_choice("over", over, (OCCURRING, EITHER))
    chances = [_by_chance(len(truth), int(count)) for count in truth.sum(axis=0)]
    kept = [c for c in chances if not np.isnan(c)] if over == OCCURRING else np.nan_to_num(chances)
    lost, won = ([_precision(s, t, won=won) for s, t in zip(scores.T, truth.T, strict=True)]
                 for won in (False, True))  # fmt: skip
    chance = float(np.mean(kept)) if len(kept) else None
    return Measure(partial(_mean, lost, over), chance, partial(_mean, won, over))


def _mean(classes: list[Callable[[Weights], float]], over: str, w: Weights) -> float:
    found = np.asarray([of(w) for of in classes])
    there = ~np.isnan(found)
    if over == EITHER:
        return float(np.nan_to_num(found).mean()) if len(found) else float("nan")
    return float(found[there].mean()) if there.any() else float("nan")


def _precision(
    scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"], *, won: bool
) -> Callable[[Weights], float]:
    """The average precision of one class, NaN without samples that have it."""
    lost = -np.inf if won else np.inf
    right = np.flatnonzero(truth)
    right = right[np.argsort(-np.nan_to_num(scores[right], nan=-np.inf), kind="stable")]
    wrong = np.flatnonzero(~truth)
    theirs = -np.nan_to_num(scores[wrong].astype(np.float64), nan=lost)
    order = np.argsort(theirs, kind="stable")
    wrong, theirs = wrong[order], theirs[order]
    own = -scores[right].astype(np.float64)
    sides = (-TIE_TOLERANCE, "left") if won else (TIE_TOLERANCE, "right")
    in_front = np.searchsorted(theirs, own + sides[0], side=sides[1])  # type: ignore[call-overload]
    real = ~np.isnan(own)

    def of(w: Weights) -> float:
        often = np.rint(w[right]).astype(np.int64)
        total = int(often.sum())
        if not total:
            return float("nan")
        before = np.concatenate([[0.0], np.cumsum(w[wrong])])[in_front]
        hits = np.arange(1, total + 1)
        precision = hits / (hits + np.repeat(before, often))
        return float(precision[np.repeat(real, often)].sum() / total)

    return of


def _by_chance(n: int, right: int) -> float:
    """What a random order gives on average of n samples; NaN without right ones."""
    if not right:
        return float("nan")
    if n == 1:
        return 1.0
    others = (right - 1) / (n - 1)
    return others + (1 - others) * float(np.mean(1 / np.arange(1, n + 1)))
