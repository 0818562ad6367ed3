"""The scores of segmentation, from how many pixels of each class pictures have."""

from collections.abc import Callable, Sequence

import numpy as np

from vlp.evals.measures import EITHER, OCCURRING, Measure, Weights, quotient
from vlp.evals.segmentation import Areas, Found


def overlap_scores(found: Found, names: Sequence[str]) -> dict[str, Measure]:
    """Intersection over union, and the accuracies of pixels and of classes.

    Pixels of all pictures are counted together. `mIoU` is the mean over classes that masks have,
    `mIoU_either` over those that pixels are taken for, too, whose IoU is 0, as mmsegmentation has
    it; `mean_class_accuracy` is the mean over classes that masks have of the share of their pixels
    that are right. `IoU/NAME` is that of one class that masks have.

    Chance is that of a class drawn for each pixel.

    Args:
      found: Areas of the pictures, `[n, k]`.
      names: Of the classes; one that is there twice gets its number behind it.

    References:
      Everingham et al., 2010, https://doi.org/10.1007/s11263-009-0275-4 (intersection over union);
      Long et al., 2015, https://arxiv.org/abs/1411.4038, section 5 (pixel and mean accuracy).
    """
    lost, won = (Areas(*(x.astype(np.float64) for x in each)) for each in found)
    k = lost.there.shape[1]
    total = lost.there.sum(axis=0)
    share = total / max(1, total.sum())
    chance = share / (k * share + 1 - share)  # share / k of all pixels would be hit
    occurring = total > 0
    either = Measure(_mean_iou(lost, EITHER), float(chance.mean()), _mean_iou(won, EITHER))
    measures = {
        "mIoU": Measure(
            _mean_iou(lost, OCCURRING),
            float(chance[occurring].mean()) if occurring.any() else None,
            _mean_iou(won, OCCURRING),
        ),
        "mIoU_either": either,
        "pixel_accuracy": quotient(
            lost.hits.sum(axis=1),
            lost.there.sum(axis=1),
            chance=1 / k,
            if_hit=won.hits.sum(axis=1),
        ),
        "mean_class_accuracy": Measure(_mean_accuracy(lost), 1 / k, _mean_accuracy(won)),
    }
    for c in np.flatnonzero(occurring).tolist():
        name = names[c] if list(names).count(names[c]) == 1 else f"{names[c]} ({c})"
        best = quotient(won.hits[:, c], won.union[:, c])
        own = quotient(lost.hits[:, c], lost.union[:, c])
        measures[f"IoU/{name}"] = Measure(own.of, float(chance[c]), best.of, own.shares)
    return measures


def _mean_iou(areas: Areas, over: str) -> Callable[[Weights], float]:
    union, counted = areas.union, areas.there if over == OCCURRING else areas.union
    return lambda w: _mean(w @ areas.hits, w @ union, w @ counted > 0)


def _mean_accuracy(areas: Areas) -> Callable[[Weights], float]:
    return lambda w: _mean(w @ areas.hits, w @ areas.there, w @ areas.there > 0)


def _mean(above: np.ndarray, below: np.ndarray, there: np.ndarray) -> float:
    return float(np.mean(above[there] / below[there])) if there.any() else float("nan")
