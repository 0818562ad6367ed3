"""Accuracies of classifiers, one or several drawn by seeds, on the same pictures."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from vlp.evals.measures import (
    EITHER,
    OCCURRING,
    Measure,
    Weights,
    class_mean,
    macro_f1,
    quotient,
)
from vlp.evals.ranks import Placed


def accuracies(
    found: Sequence[Placed], labels: Int[np.ndarray, " n"], *, num_classes: int
) -> dict[str, Measure]:
    """Top-1, top-5, the mean over classes and F1; of several classifiers their mean.

    Top-5 exists from five classes on. Of several classifiers `top1_deviation` says how far their
    top-1 differ; the interval of each metric is over pictures, for the classifiers that there are.

    Args:
      found: Of each classifier, where the right class of each picture stands.
      labels: Of each picture.
      num_classes: How many classes compete.
    """
    measures: dict[str, Measure] = {}
    missed = np.stack([each.ranks.missed for each in found])
    hit = np.stack([each.ranks.hit for each in found])
    for top in (1, 5) if num_classes >= 5 else (1,):
        right, best = (np.mean(ranks < top, axis=0) for ranks in (missed, hit))
        chance = min(1.0, top / num_classes)
        measures[f"top{top}"] = quotient(right, if_hit=best, chance=chance)
    right, best = (np.mean(ranks == 0, axis=0) for ranks in (missed, hit))
    measures["mean_per_class_recall"] = class_mean(
        right, labels, num_classes=num_classes, if_hit=best
    )
    for name, over in (("macro_f1", OCCURRING), ("macro_f1_either", EITHER)):
        own = [
            macro_f1(labels, each.predicted, num_classes=num_classes, over=over) for each in found
        ]
        measures[name] = _mean(own)
    if len(found) > 1:
        each = (missed == 0).astype(np.float64)
        measures["top1_deviation"] = Measure(lambda w: _deviation(each, w))
    return measures


def _mean(measures: Sequence[Measure]) -> Measure:
    """Of the same metric of several classifiers."""
    return Measure(lambda w: float(np.mean([each.of(w) for each in measures])), measures[0].chance)


def _deviation(right: np.ndarray, w: Weights) -> float:
    """The standard deviation over classifiers of their shares of samples that are right."""
    return float(np.std(right @ w / w.sum(), ddof=1)) if w.sum() else float("nan")
