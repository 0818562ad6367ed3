"""Metrics of a set as functions of how often each of its samples counts.

With every sample once it is the metric; with samples drawn again and again, its spread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from vlp.settings import check_choice

Weights = Float[np.ndarray, " n"]
DRAWS = 1000
TEMPLATE_DRAWS = 100  # fewer: each is a product of all pictures with all classes
LEVEL = 0.95
_HELD = 2**22  # weights at once, 32 MiB
OCCURRING, EITHER = "occurring", "either"


@dataclass(frozen=True)
class Measure:
    """One metric.

    Attributes:
      of: from the weights of n samples to the metric; NaN where it is not defined.
      chance: what guessing gives, where that is known.
      if_hit: the same with every tie won, where ties can decide.
      shares: of a metric that is a quotient of sums over samples, what each sample adds above and
        below.
    """

    of: Callable[[Weights], float]
    chance: float | None = None
    if_hit: Callable[[Weights], float] | None = None
    shares: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]] | None = None


class Interval(NamedTuple):
    """Between which values 95 of 100 repetitions lie."""

    low: float
    high: float


def quotient(
    above: np.ndarray,
    below: np.ndarray | None = None,
    *,
    chance: float | None = None,
    if_hit: np.ndarray | None = None,
) -> Measure:
    """The sum of what samples add, over the sum of how much they count.

    Args:
      above: `[n]`, such as whether a sample is right, or how many of its captions are.
      below: `[n]`, such as how many captions it has; one each unless given.
      chance: of the metric.
      if_hit: `above` with every tie won.
    """
    top = np.asarray(above, np.float64)
    bottom = np.ones(len(top)) if below is None else np.asarray(below, np.float64)
    best = None if if_hit is None else np.asarray(if_hit, np.float64)
    return Measure(
        lambda w: _over(w @ top, w @ bottom),
        chance,
        None if best is None else lambda w: _over(w @ best, w @ bottom),
        (top, bottom),
    )


def class_mean(
    correct: Bool[np.ndarray, " n"] | Float[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    *,
    num_classes: int,
    if_hit: Bool[np.ndarray, " n"] | Float[np.ndarray, " n"] | None = None,
) -> Measure:
    """The mean over the classes that occur of the share of their samples that are right."""

    def mean(right: np.ndarray) -> Callable[[Weights], float]:
        def of(w: Weights) -> float:
            total = np.bincount(labels, w, num_classes)
            hits = np.bincount(labels, w * right, num_classes)
            there = total > 0
            return float(np.mean(hits[there] / total[there])) if there.any() else float("nan")

        return of

    best = None if if_hit is None else mean(np.asarray(if_hit))
    return Measure(mean(np.asarray(correct)), 1 / num_classes, best)


def macro_f1(
    labels: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    *,
    num_classes: int,
    over: str = OCCURRING,
    if_hit: Int[np.ndarray, " n"] | None = None,
) -> Measure:
    """The mean over classes of F1, the harmonic mean of precision and recall.

    Args:
      labels: Class of each sample.
      predicted: Class that was said of each.
      num_classes: How many there are.
      over: "occurring": the classes that samples have, as WILDS; "either": those that are said of
        some, too, whose F1 is 0, as scikit-learn without `labels` and so MTEB.
      if_hit: `predicted` with every tie won.

    Raises:
      ValueError: `over` is neither.
    """
    check_choice("over", over, (OCCURRING, EITHER))

    def mean(said: np.ndarray) -> Callable[[Weights], float]:
        right = said == labels

        def of(w: Weights) -> float:
            true, claimed, hits = (
                np.bincount(classes, w * counted, num_classes)
                for classes, counted in ((labels, 1.0), (said, 1.0), (labels, right))
            )
            there = true > 0 if over == OCCURRING else true + claimed > 0
            f1 = 2 * hits[there] / (true + claimed)[there]
            return float(f1.mean()) if there.any() else float("nan")

        return of

    share = np.bincount(labels, minlength=num_classes) / max(1, len(labels))
    f1 = 2 * share / (1 + num_classes * share)  # of guesses, which hit one of k
    chance = f1[share > 0] if over == OCCURRING else f1
    best = None if if_hit is None else mean(np.asarray(if_hit))
    return Measure(mean(np.asarray(predicted)), float(chance.mean()) if share.any() else None, best)


def worst(
    right: Bool[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    chance: float | None = None,
    if_hit: Bool[np.ndarray, " n"] | None = None,
) -> Measure:
    """The smallest share of right samples that a group has.

    Args:
      right: Of each sample.
      groups: Number of each sample's group, -1 for none; a group without samples has no share.
      chance: Of a sample.
      if_hit: `right` with every tie won.
    """
    member = groups >= 0
    own = groups[member]

    def least(correct: np.ndarray) -> Callable[[Weights], float]:
        def of(w: Weights) -> float:
            total = np.bincount(own, w[member])
            hits = np.bincount(own, (w * correct)[member])
            there = total > 0
            return float(np.min(hits[there] / total[there])) if there.any() else float("nan")

        return of

    best = None if if_hit is None else least(np.asarray(if_hit))
    return Measure(least(np.asarray(right)), chance, best)


def mean_of(measures: Sequence[Measure]) -> Measure:
    """The mean of metrics of the same samples."""
    chances = [each.chance for each in measures if each.chance is not None]
    best = [each.if_hit for each in measures if each.if_hit is not None]
    whole = len(best) == len(measures)
    return Measure(
        lambda w: float(np.mean([each.of(w) for each in measures])),
        float(np.mean(chances)) if len(chances) == len(measures) else None,
        (lambda w: float(np.mean([of(w) for of in best]))) if whole else None,
    )


def intervals(
    measures: Mapping[str, Measure], *, samples: int, draws: int = DRAWS, seed: int = 0
) -> dict[str, Interval]:
    """How far each metric would spread over other samples of the same kind, by the bootstrap.

    Args:
      measures: by name; all of the same samples, which are drawn together.
      samples: how many.
      draws: repetitions.
      seed: of the draws.

    Returns:
      Percentile intervals; none for a metric that is not defined.

    References:
      Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    if not samples or not draws:
        return {}
    # Quotients of sums by one product for all; each draw is a row.
    sums = {name: of.shares for name, of in measures.items() if of.shares is not None}
    tops, bottoms = (
        np.asarray([shares[side] for shares in sums.values()]).reshape(len(sums), samples)
        for side in (0, 1)
    )
    rng = np.random.default_rng(seed)
    rows = max(1, _HELD // samples)
    found: dict[str, list[float]] = {name: [] for name in measures}
    for start in range(0, draws, rows):
        drawn = np.stack([_drawn(rng, samples) for _ in range(min(rows, draws - start))])
        above, below = drawn @ tops.T, drawn @ bottoms.T
        values = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
        for name, column in zip(sums, values.T, strict=True):
            found[name] += column.tolist()
        for name, measure in measures.items():
            if name not in sums:
                found[name] += [measure.of(w) for w in drawn]
    return _percentiles(found)


def part_intervals(
    of: Callable[[Weights], Mapping[str, float]], *, parts: int, draws: int, seed: int = 0
) -> dict[str, Interval]:
    """How far metrics would spread over other parts of the same kind, such as templates, by the
    bootstrap.

    Parts that are drawn equally often, whichever draw it is, are computed once.

    Args:
      of: from how often each part counts to the metrics.
      parts: how many there are.
      draws: repetitions.
      seed: of the draws.

    Returns:
      Percentile intervals as those of `intervals`; none at all for a single part, which says
      nothing of others.
    """
    if parts < 2 or not draws:
        return {}
    rng = np.random.default_rng(seed)
    drawn = np.stack([_drawn(rng, parts) for _ in range(draws)])
    distinct, times = np.unique(drawn, axis=0, return_counts=True)
    values = [of(w) for w in distinct]
    found = {name: np.repeat([each[name] for each in values], times) for name in values[0]}
    return _percentiles(found)


def scores_of(
    measures: Mapping[str, Measure], *, samples: int
) -> dict[str, dict[str, float | int]]:
    """`metrics`, `chance`, `low` and `high`, for the parts of a result.

    Args:
      measures: by name.
      samples: how many they are of.
    """
    once, spread = np.ones(samples), intervals(measures, samples=samples)
    chances = {name: each.chance for name, each in measures.items()}
    return {
        "metrics": {name: each.of(once) for name, each in measures.items()},
        "chance": {name: chance for name, chance in chances.items() if chance is not None},
        "low": {name: each.low for name, each in spread.items()},
        "high": {name: each.high for name, each in spread.items()},
    }


def _percentiles(found: Mapping[str, Sequence[float] | np.ndarray]) -> dict[str, Interval]:
    """The ends between which values of each metric lie; none where it is never defined."""
    ends = (50 * (1 - LEVEL), 50 * (1 + LEVEL))
    return {
        name: Interval(*map(float, np.nanpercentile(values, ends)))
        for name, values in found.items()
        if not np.isnan(values).all()
    }


def _drawn(rng: np.random.Generator, samples: int) -> Weights:
    """How often each is drawn, in as many draws as there are samples, or parts."""
    return np.bincount(rng.integers(samples, size=samples), minlength=samples).astype(np.float64)


def _over(above: Any, below: Any) -> float:
    return float(above / below) if below else float("nan")
