"""Zero-shot segmentation: the class whose prompts are nearest to the patches around a pixel."""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from data_pipelines.threads import THREADS
from vlp.evals.features import PATCH_VALUES, PATCHES
from vlp.evals.overlap import overlap_scores
from vlp.evals.segmentation import Areas, Found, areas
from vlp.metrics import scores
from vlp.settings import check_choice
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.masks import Masks
from vlp.sweeps.prompts import ENSEMBLES, class_vectors, names_twice
from vlp.sweeps.sets import UPRIGHT, EvalSet

TOKENS = {"last": PATCHES, "values": PATCH_VALUES}
_SHOWN = 5  # classes that a note names


def check_segmentation(*, tokens: str = "last", ensemble: str = ENSEMBLES[0], **_: Any) -> None:
    """Raises ValueError for settings that are none."""
    check_choice("tokens", tokens, TOKENS)
    check_choice("ensemble", ensemble, ENSEMBLES)


def masks_of(found: EvalSet, *, rule: str) -> Masks:
    """The masks of a set, whose pictures are decoded by a rule.

    Raises:
        ValueError: it has none, or pictures are turned upright, which masks are not.
    """
    if found.masks is None:
        raise ValueError(
            f"segmentation needs the class of each pixel, {found.name} has no masks; put them "
            "beside the pictures, as masks/NAME.png beside images/NAME.jpg"
        )
    if rule == UPRIGHT:
        raise ValueError(
            "segmentation compares pictures as they are stored with their masks, got "
            f"--pictures={rule}, which turns some; take --pictures=plain"
        )
    return found.masks


def tokens_feature(*, tokens: str = "last", **_: Any) -> str:
    """Which feature of pictures the task reads; see `vlp.evals.features`."""
    return TOKENS[tokens]


def segmentation(
    view: View, *, tokens: str = "last", ensemble: str = ENSEMBLES[0], canonical: bool = False
) -> Judged:
    """mIoU, the accuracy of pixels and its mean over classes, and the IoU of each class.

    The picture is squashed to the model's square, nothing of it cut off, and seen once; there is no
    sliding window. Each patch becomes a vector in the space of texts as if the tower pooled it
    alone: its token behind the final norm and the image projection, by an attention head (SigLIP)
    the head's value, output and perceptron for that token, made unit-norm. Its cosines with the
    classes, whose vectors are those of zero-shot classification, are interpolated bilinearly to
    the mask's size, and the largest says the class of a pixel. Nothing is refined afterwards, and a
    background is a class like others. Pixels of 255 do not count. Ties are lost, see
    `vlp.evals.segmentation.areas`.

    Args:
        view: of a set with masks and the names of classes.
        tokens: "last", those that leave the tower; or "values", MaskCLIP's: in the last block each
            token adds its own value in place of what it attends to.
        ensemble, canonical: what becomes of prompts, see `vlp.sweeps.prompts.class_vectors`.

    Raises:
        ValueError: the set has no masks, or no pixel that counts; a mask has other classes; the
            model has no vectors of patches; or pictures are turned upright, which masks are not.

    References:
        Zhou et al., 2022 (MaskCLIP), https://arxiv.org/abs/2112.01071, section 3.2 (without key
        smoothing and prompt denoising); Maninis et al., 2024 (TIPS),
        https://arxiv.org/abs/2410.16512, and its notebook TIPS_zeroshot_segmentation (mode
        "whole", but for the shape of the picture).
    """
    check_segmentation(tokens=tokens, ensemble=ensemble)
    found, masks = view.set, masks_of(view.set, rule=view.rule)
    rows = view.pictures(feature=TOKENS[tokens])
    if not len(rows.ids):
        raise ValueError(f"{found.name} must hold a picture that can be read")
    zclass = class_vectors(view, ensemble=ensemble, canonical=canonical)
    judge = partial(_judged, view, masks, zclass)
    with ThreadPoolExecutor(THREADS) as pool:
        judged = _together(list(pool.map(judge, rows.ids.tolist(), rows.vectors)))
    there = judged.lost.there.sum(axis=0)
    if not there.any():
        raise ValueError(f"{found.name} must have a pixel that counts, in a picture that is read")
    names = found.class_names
    counts = {
        "pictures": len(rows.ids),
        "classes": len(zclass),
        "occurring": int(np.count_nonzero(there)),
        "pixels": int(there.sum()),
    }
    missing = [names[c] for c in np.flatnonzero(there == 0).tolist()]
    notes = [*rows.notes, *_squashed(view), *_absent(missing, len(names)), *names_twice(names)]
    return Judged(overlap_scores(judged, names), len(rows.ids), rows.ids, {}, counts, notes)


def _judged(
    view: View,
    masks: Masks,
    zclass: Float[np.ndarray, "k d"],
    index: int,
    vectors: Float[np.ndarray, "p d"],
) -> Found:
    """The areas of one picture."""
    stages, tower = view.stages, view.opened.run.model.image
    zimg = stages.logits_of(stages.rounded(np.asarray(vectors)))
    given = stages.scored(scores(zimg, zclass))
    side = math.isqrt(len(given))
    labels = masks.read(index)
    try:
        patches = tower.image_size / tower.patch_size
        return areas(given.reshape(side, side, -1), labels, patches=patches)
    except ValueError as error:
        raise ValueError(
            f"{masks.root / masks.files[index]}: {error}; is classnames.txt whole, and is class 0 "
            "in its first line?"
        ) from error


def _together(found: list[Found]) -> Found:
    """The areas of all pictures."""
    lost, won = (
        Areas(*(np.stack(columns) for columns in zip(*own, strict=True)))
        for own in zip(*found, strict=True)
    )
    return Found(lost, won)


def _squashed(view: View) -> list[str]:
    """A sentence where the model is used to pictures of another cut."""
    own = view.opened.run.preprocess
    if own.to_dict() == own.whole.to_dict():
        return []
    return [
        f"pictures are squashed whole to {own.size} x {own.size}, so that masks lie on them; the "
        f"model's own preprocessing has resize={own.resize!r} to {own.resize_size} and takes the "
        f"middle {own.size} x {own.size}"
    ]


def _absent(names: list[str], classes: int) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return [
        f"{len(names):,} of {classes:,} classes are in no mask: they compete and have no IoU: "
        f"{shown}"
    ]
