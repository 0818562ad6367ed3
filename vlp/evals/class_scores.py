"""The scores of samples among classes, whatever ranked these."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from vlp.evals.gains import chance_of_recall
from vlp.evals.measures import EITHER, OCCURRING, Measure, class_mean, macro_f1, quotient
from vlp.evals.ranks import Classified

TOPS = (1, 5)
LOST, FIRST = "lost", "first"
TIES = (LOST, FIRST)


class Right(NamedTuple):
    """Which samples are right, and which would be with every tie won, where that is asked."""

    right: Bool[np.ndarray, " n"]
    if_hit: Bool[np.ndarray, " n"] | None


def tops(found: Classified, ties: str = LOST) -> dict[str, Right]:
    """Whether the right class is the first, and whether it is among the first five.

    Args:
        found: the ranks of right classes.
        ties: "lost", or "first": to the class that stands first.
    """
    if ties == FIRST:
        return {f"top{top}": Right(found.first < top, None) for top in TOPS}
    missed, hit = found.ranks
    return {f"top{top}": Right(missed < top, hit < top) for top in TOPS}


def class_scores(
    found: Classified,
    labels: Int[np.ndarray, " n"] | Bool[np.ndarray, "n k"],
    *,
    num_classes: int,
    ties: str = LOST,
) -> dict[str, Measure]:
    """Top-1, top-5 from five classes on, and of one label a sample the mean over classes and F1.

    `mean_per_class_recall` is balanced accuracy. `macro_f1` is over the classes that occur, as
    WILDS has it, `macro_f1_either` over those that are predicted, too, as MTEB has it.

    Args:
        found: the ranks of right classes.
        labels: the class of each sample, or which are right.
        num_classes: how many compete.
        ties: see `tops`.
    """
    hits = labels.sum(axis=1) if labels.ndim == 2 else np.ones(len(labels), np.int64)
    measures: dict[str, Measure] = {}
    for name, (right, best) in tops(found, ties).items():
        top = int(name.removeprefix("top"))
        if top == 1 or num_classes >= top:
            chance = float(chance_of_recall(hits, num_classes, top).mean())
            measures[name] = quotient(right, chance=chance, if_hit=best)
    if labels.ndim == 2:
        return measures
    right, best = tops(found, ties)["top1"]
    measures["mean_per_class_recall"] = class_mean(
        right, labels, num_classes=num_classes, if_hit=best
    )
    said = found.predicted if best is None else np.where(right, labels, found.wrong)
    won = None if best is None else np.where(best, labels, found.wrong)
    for name, over in (("macro_f1", OCCURRING), ("macro_f1_either", EITHER)):
        measures[name] = macro_f1(labels, said, num_classes=num_classes, over=over, if_hit=won)
    return measures
