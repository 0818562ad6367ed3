"""Resizing and cutting out the centre, in the steps and with the roundings of the peers.

Resampling is Pillow's antialiased filter on 8 bits, the reference that CLIP-like models are
evaluated with: resizes without antialiasing agree with it to 30-35 dB only and cost accuracy.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines import simd
from data_pipelines.checks import check_choice

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
RESIZES = ("squash", "shortest", "longest")
ROUNDINGS = ("down", "even")
_WIDEST_FILTER = 3  # source pixels to either side that Lanczos looks at, at a scale of 1
_LONG = 16  # times the window's side: so long a picture is resized around its centre only
_Box = tuple[int, int, int, int]  # left, top, right, bottom


def target(width: int, height: int, *, size: int, resize: str) -> tuple[int, int]:
    """Width and height to resize to.

    "shortest" drops the fraction of a pixel, as torchvision and transformers do; "longest" rounds
    it, as open_clip and timm do, and leaves at least one pixel.
    """
    if resize == "squash":
        return size, size
    short, long = min(width, height), max(width, height)
    if resize == "shortest":
        other = int(size * long / short)
        return (size, other) if width <= height else (other, size)
    other = max(1, round(short / (long / size)))
    return (other, size) if width <= height else (size, other)


def check_interpolation(interpolation: str, *others: str) -> None:
    """Raises ValueError where it is no filter, of FILTERS, `simd.SIMD` or others, or not there."""
    check_choice("interpolation", interpolation, (*FILTERS, *simd.SIMD, *others))
    simd.check_installed(interpolation)


def resized(
    pixels: np.ndarray,
    shape: tuple[int, int],
    *,
    interpolation: str,
    box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """A picture or a part of it at another size, antialiased.

    Args:
      pixels: uint8 RGB `[h, w, 3]`.
      shape: width and height to resize to.
      interpolation: one of FILTERS, or of `simd.SIMD`.
      box: left, top, right and bottom of the part, in pixels; all of it unless given.
    """
    if interpolation in simd.SIMD:
        box = box or (0, 0, pixels.shape[1], pixels.shape[0])
        down = simd.heights_first(pixels, shape)
        return simd.resized(pixels, shape, interpolation=interpolation, box=box, down_first=down)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize(shape, FILTERS[interpolation], box=box))


def centre(
    pixels: np.ndarray,
    shape: tuple[int, int],
    *,
    size: int,
    interpolation: str,
    rounding: str,
    fill: Sequence[int],
) -> np.ndarray:
    """The centre of a resized picture.

    Args:
      pixels: uint8 RGB `[h, w, 3]`.
      shape: width and height to resize to.
      size: side of the window that is cut out.
      interpolation: one of FILTERS, or of `simd.SIMD`: then what the window shows is all that is
        made.
      rounding: one of ROUNDINGS, for a window that would begin at half a pixel.
      fill: RGB of what the window shows beyond the picture.

    Returns:
      uint8 `[size, size, 3]`.
    """
    left, top = (_offset(length, size, rounding) for length in shape)
    box = (max(0, left), max(0, top), min(shape[0], left + size), min(shape[1], top + size))
    if max(shape) > _LONG * size or interpolation in simd.SIMD:
        # The whole picture could grow to gigabytes: 1 x 30000 to 224 x 6720000.
        image = _window(pixels, shape, box, interpolation)
    else:
        image = _shown(pixels, shape, box, FILTERS[interpolation])
    if image.size != (size, size):
        canvas = Image.new("RGB", (size, size), tuple(fill))
        canvas.paste(image, (box[0] - left, box[1] - top))
        image = canvas
    return np.asarray(image)


def sampled(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """TensorFlow's bilinear resize without antialiasing, which big_vision evaluates with.

    Each output pixel is the mean of the four around its place, weighted, its fraction dropped.

    Args:
      pixels: uint8 RGB `[h, w, 3]`.
      shape: width and height to resize to.
    """
    height, width = pixels.shape[:2]
    left, right, across = _neighbours(width, shape[0])
    top, bottom, down = _neighbours(height, shape[1])
    across, down = across[None, :, None], down[:, None, None]

    def row(places: np.ndarray) -> np.ndarray:
        lines = pixels[places]
        before, after = lines[:, left].astype(np.float32), lines[:, right].astype(np.float32)
        return before + (after - before) * across

    above, below = row(top), row(bottom)
    return (above + (below - above) * down).astype(np.uint8)


def _shown(
    pixels: np.ndarray, shape: tuple[int, int], box: _Box, kind: Image.Resampling
) -> Image.Image:
    """What `box` shows of the resized picture, in the bits of Pillow's resize of the whole.

    That changes widths and then heights. So does this, the widths only of rows that are shown or
    weigh in one that is, and the heights only of columns that are shown.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    by_axis = kind != Image.Resampling.NEAREST and not simd.heights_first(pixels, shape)
    if box == (0, 0, *shape) or (width, height) == shape or not by_axis:
        image = Image.fromarray(pixels)
        return (image if image.size == shape else image.resize(shape, kind)).crop(box)
    first, last = _reach(top, bottom, height / shape[1], height)
    rows = Image.fromarray(pixels[first:last]).resize((shape[0], last - first), kind)
    rows = rows.crop((left, 0, right, last - first))
    if last - first < height:  # the filter's weights follow from the whole height
        rows, part = Image.new("RGB", (right - left, height)), rows
        rows.paste(part, (0, first))
    return rows.resize((right - left, shape[1]), kind).crop((0, top, right - left, bottom))


def _reach(first: float, last: float, step: float, length: int) -> tuple[int, int]:
    """The source pixels that a filter may look at for results from `first` to `last`.

    Args:
      first, last: the results, counted in them.
      step: source pixels a result.
      length: of the source.
    """
    margin = _WIDEST_FILTER * max(1.0, step) + 1
    return (
        max(0, math.floor(first * step - margin)),
        min(length, math.ceil(last * step + margin)),
    )


def _window(
    pixels: np.ndarray, shape: tuple[int, int], box: _Box, interpolation: str
) -> Image.Image:
    """What `box` shows of the resized picture, from the pixels that matter for it."""
    cuts, inner = [], []
    for axis, length in enumerate((pixels.shape[1], pixels.shape[0])):
        step = length / shape[axis]
        first, last = box[axis] * step, box[axis + 2] * step
        cut = _reach(box[axis], box[axis + 2], step, length)
        cuts.append(slice(*cut))
        inner.append((first - cut[0], last - cut[0]))
    part = pixels[cuts[1], cuts[0]]
    (left, right), (top, bottom) = inner
    inside = (left, top, min(right, part.shape[1]), min(bottom, part.shape[0]))
    wanted = (box[2] - box[0], box[3] - box[1])
    if interpolation not in simd.SIMD:
        return Image.fromarray(resized(part, wanted, interpolation=interpolation, box=inside))
    how: Any = dict(interpolation=interpolation, down_first=simd.heights_first(pixels, shape))
    return Image.fromarray(simd.resized(part, wanted, box=inside, **how))


def _offset(length: int, size: int, rounding: str) -> int:
    """Where a window of `size` at the centre of `length` begins; negative where it is larger."""
    if rounding == "down":
        return (length - size) // 2
    return round((length - size) / 2) if length >= size else -((size - length) // 2)


def _neighbours(length: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output pixel the source pixels to both sides, and the weight of the second."""
    scale = np.float32(length / wanted)
    place = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    first = np.floor(place)
    low = np.maximum(first, 0).astype(np.int64)
    high = np.minimum(np.ceil(place), length - 1).astype(np.int64)
    return low, np.maximum(high, 0), (place - first).astype(np.float32)
