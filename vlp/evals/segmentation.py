"""The class of each pixel from the scores of patches, and what is counted of it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real, UInt8

from vlp.metrics import TIE_TOLERANCE

IGNORED = 255
_HELD = 2**18  # scores at once, 1 MiB: three times as fast as 16, for they stay in caches


class Areas(NamedTuple):
    """Numbers of pixels by class that count, of one picture or of several.

    Attributes:
        hits: that have the class and are taken for it.
        said: that are taken for it.
        there: that have it.
    """

    hits: Real[np.ndarray, "*n k"]
    said: Real[np.ndarray, "*n k"]
    there: Real[np.ndarray, "*n k"]

    @property
    def union(self) -> Real[np.ndarray, "*n k"]:
        """Pixels that have the class or are taken for it."""
        return self.said + self.there - self.hits


class Found(NamedTuple):
    """The areas with every tie lost, and with every tie won."""

    lost: Areas
    won: Areas


def areas(
    scores: Float[np.ndarray, "g g k"],
    labels: UInt8[np.ndarray, "h w"],
    *,
    patches: float | None = None,
) -> Found:
    """What is said of each pixel of a picture: the class with the largest score there.

    The scores of patches are interpolated between their centres, see `upsampled`. Where the right
    class ties with another one the other is said, or with ties won the right one.

    Args:
        scores: of each patch, by row and column, for each class; NaN is never right.
        labels: the class of each pixel, or 255 where it does not count.
        patches: see `upsampled`.

    Raises:
        ValueError: a label is none of the classes.
    """
    k = scores.shape[-1]
    beyond = labels[(labels >= k) & (labels != IGNORED)]
    if beyond.size:
        raise ValueError(
            f"a pixel must have one of the {k:,} classes, 0 to {k - 1}, or {IGNORED} where it does "
            f"not count, {beyond.size:,} have others, up to {beyond.max()}"
        )
    counts = np.zeros((2, 2, k), np.int64)
    there = np.zeros(k, np.int64)
    first = 0
    for block in upsampled(scores, labels.shape, patches=patches):
        rows = labels[first : first + len(block)]
        first += len(block)
        own = rows[rows != IGNORED].astype(np.int64)
        there += np.bincount(own, minlength=k)
        for ties, said in enumerate(_said(block[rows != IGNORED], own)):
            counts[ties, 0] += np.bincount(own[said == own], minlength=k)
            counts[ties, 1] += np.bincount(said, minlength=k)
    return Found(*(Areas(hits, said, there) for hits, said in counts))


def upsampled(
    scores: Float[np.ndarray, "g g k"], shape: tuple[int, ...], *, patches: float | None = None
) -> Iterator[Float[np.ndarray, "b w k"]]:
    """The scores at the centre of each pixel, bilinear between the centres of patches and constant
    beyond them, without antialiasing; so many rows at once as there is room for.

    This is `interpolate(mode="bilinear", align_corners=False)` of PyTorch.

    Args:
        scores: of patches that lie side by side from the upper left corner on.
        shape: rows and columns of pixels.
        patches: how many fit into a side of the picture, where more than there are, as some pixels
            at the right and lower edge are in none.
    """
    side = float(patches or scores.shape[0])
    (top, bottom, down), (left, right, along) = (
        _neighbours(count, len(scores), side) for count in shape
    )
    along = along[None, :, None]
    wide = scores[:, left] * (1 - along) + scores[:, right] * along
    rows = max(1, _HELD // max(1, wide[0].size))
    for start in range(0, shape[0], rows):
        part = slice(start, start + rows)
        share = down[part, None, None]
        yield wide[top[part]] * (1 - share) + wide[bottom[part]] * share


def _neighbours(pixels: int, patches: int, side: float) -> tuple[np.ndarray, ...]:
    """The patches before and behind the centre of each pixel, and the second one's share."""
    place = (np.arange(pixels) + 0.5) * (side / pixels) - 0.5
    place = np.clip(place, 0, patches - 1)
    before = place.astype(np.int64)
    return before, np.minimum(before + 1, patches - 1), (place - before).astype(np.float32)


def _said(
    scores: Float[np.ndarray, "m k"], labels: Int[np.ndarray, " m"]
) -> Iterator[Int[np.ndarray, " m"]]:
    """The class that is said of each pixel, with ties lost and with ties won."""
    each = np.arange(len(labels))
    own = scores[each, labels]
    scores[each, labels] = -np.inf
    other = scores.argmax(axis=1)
    lead = own - scores[each, other]
    for right in (lead > TIE_TOLERANCE, lead >= -TIE_TOLERANCE):
        yield np.where(right, labels, other)
