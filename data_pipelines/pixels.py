"""Whatever holds an image, as uint8 pixels; and what all preprocessing checks."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data_pipelines.decode import decode, rgba

ImageLike = str | Path | bytes | Image.Image | np.ndarray


def each(images: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    """One image or several, or one array `[n, h, w, 3 or 4]`, as a list."""
    if isinstance(images, str | Path | bytes | Image.Image):
        return [images]
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    return list(images)


def as_rgba(image: ImageLike) -> np.ndarray:
    """uint8 RGBA `[h, w, 4]`.

    Raises:
      Reject: the image cannot be used.
      ValueError: an array of another shape or type.
    """
    if isinstance(image, str | Path):
        return decode(Path(image).read_bytes())
    if isinstance(image, bytes):
        return decode(image)
    if isinstance(image, Image.Image):
        return rgba(image)
    array = np.asarray(image)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ValueError(
            "an image array must be uint8 [h, w], [h, w, 1], [h, w, 3] or [h, w, 4]; got "
            f"{array.dtype} {list(array.shape)}"
        )
    if array.size == 0:
        raise ValueError(f"an image needs at least one pixel, got shape {list(array.shape)}")
    if channels == 4:
        return array
    array = np.broadcast_to(array.reshape(*array.shape[:2], channels), (*array.shape[:2], 3))
    return np.concatenate([array, np.full_like(array[..., :1], 255)], axis=-1)


def flatten(pixels: np.ndarray, background: Sequence[int]) -> np.ndarray:
    """RGBA `[h, w, 4]` over a colour: uint8 `[h, w, 3]`, so that hidden colours stay hidden."""
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(colours)
    behind = np.asarray(background, np.uint32)
    covered = alpha.astype(np.uint32)
    return ((colours * covered + behind * (255 - covered) + 127) // 255).astype(np.uint8)


def rgb_on(
    images: ImageLike | Sequence[ImageLike], background: Sequence[int]
) -> Iterator[np.ndarray]:
    """Each image as uint8 RGB `[h, w, 3]` on a background."""
    for image in each(images):
        yield flatten(as_rgba(image), background)


def check_colour(name: str, colour: Sequence[int]) -> tuple[int, ...]:
    """The colour as a tuple.

    Raises:
      ValueError: not three values in 0..255.
    """
    if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        raise ValueError(f"{name} must be 3 values in 0..255, got {tuple(colour)}")
    return tuple(int(value) for value in colour)


def check_normalisation(
    mean: Sequence[float], std: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation as tuples.

    Raises:
      ValueError: not three finite values each, or a standard deviation that is not above 0.
    """
    finite = all(map(math.isfinite, (*mean, *std)))
    if len(mean) != 3 or len(std) != 3 or not finite or min(std) <= 0:
        raise ValueError(
            f"mean and std must be 3 finite values each, std above 0; got {mean} and {std}"
        )
    return tuple(float(value) for value in mean), tuple(float(value) for value in std)


def check_whole(name: str, value: int) -> None:
    """Refuses what is no count of pixels or patches.

    Raises:
      ValueError: not a whole number of at least 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Refuses an unknown name.

    Raises:
      ValueError: lists the known ones.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
