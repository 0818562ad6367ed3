"""Scores with ties as clip_benchmark decides them, beside those with every tie lost and won."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from vlp.evals.measures import Measure, class_mean, quotient
from vlp.evals.reference_ties import class_hits, gallery_hits

REFERENCE = "reference"
_NAME = "as_clip_benchmark"


def classified(
    zimg: Float[np.ndarray, "n d"],
    zclass: Float[np.ndarray, "k d"],
    labels: Int[np.ndarray, " n"],
    *,
    dtype: str,
) -> dict[str, Measure]:
    """`top1/as_clip_benchmark` and so on; see `vlp.evals.reference_ties.class_hits`."""
    if labels.ndim != 1:
        raise ValueError(
            f'ties="{REFERENCE}" is of one label a picture, clip_benchmark knows no other; take '
            'ties="lost"'
        )
    found = class_hits(zimg, zclass, labels, dtype=dtype)
    mean = class_mean(found.predicted == labels, labels, num_classes=len(zclass))
    scores = {f"top{k}": quotient(right) for k, right in found.tops.items()}
    scores["mean_per_class_recall"] = mean
    return {f"{name}/{_NAME}": measure for name, measure in scores.items()}


def retrieved(
    zimg: Float[np.ndarray, "n d"],
    ztxt: Float[np.ndarray, "m d"],
    image_of_text: Int[np.ndarray, " m"],
    *,
    ks: Sequence[int],
    ways: tuple[str, str],
    dtype: str,
) -> dict[str, Measure]:
    """`WAY/R@k/as_clip_benchmark`; see `vlp.evals.reference_ties.gallery_hits`.

    Args:
        zimg, ztxt, image_of_text, ks, dtype: as there.
        ways: what text to image is called, and image to text.
    """
    n = len(zimg)
    captions = np.bincount(image_of_text, minlength=n)
    of_texts, of_images = gallery_hits(zimg, ztxt, image_of_text, ks=ks, dtype=dtype)
    found: dict[str, Measure] = {}
    for k, right in of_texts.items():
        found[f"{ways[0]}/R@{k}/{_NAME}"] = quotient(np.bincount(image_of_text, right, n), captions)
    for k, right in of_images.items():
        found[f"{ways[1]}/R@{k}/{_NAME}"] = quotient(right)
    return found
