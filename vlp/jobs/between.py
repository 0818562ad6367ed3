"""Retrieval between any two modalities of a data set, such as sounds and pictures."""

from typing import Any

import numpy as np

from vlp.evals.embed import match
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.gallery import Images

USUAL = "image-text"
_MODALITIES = ("image", "audio", "text")


def check_between(between: str, *, model: Any = None) -> None:
    """Raises ValueError where these are not two modalities, or not of the model."""
    both = between.split("-")
    if len(set(both)) != 2 or not set(both) <= set(_MODALITIES):
        raise ValueError(
            f"between must be two of {', '.join(_MODALITIES)}, such as {USUAL}, got {between!r}"
        )
    lacking = [name for name in both if model is not None and name not in model.towers]
    if lacking:
        raise ValueError(
            f"between {between} needs a model with a tower for {lacking[0]}, and this one has "
            f"{', '.join(model.towers)}"
        )


def both_rows(
    evaluator: Evaluator, data: str, *, between: str, captions: str
) -> tuple[Images, np.ndarray, np.ndarray, str]:
    """One modality's rows, the embeddings of the other's, the row that each of these belongs to,
    and the pair in the order of rows and queries: texts are never rows.
    """
    first, second = sorted(between.split("-"), key=_MODALITIES.index)
    if second == "text":
        gallery = evaluator.gallery(data, captions=captions, modality=first)
        return gallery, gallery.ztxt, gallery.image_of_text, f"{first}-{second}"
    rows, others = (evaluator.images(data, modality=name) for name in (first, second))
    kept, row_of_other = match(rows.ids, others.ids)
    if not len(kept):
        raise ValueError(f"{data} must hold samples with {first} and {second}, found none")
    return rows, others.zimg[kept], row_of_other, f"{first}-{second}"
