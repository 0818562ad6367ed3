"""Evaluation preprocessing: any image to the pixels that an encoder takes. Nothing random.

Resampling is Pillow's antialiased filter on 8 bits, the reference that CLIP-like models are
evaluated with: resizes without antialiasing agree with it to 30-35 dB only and cost accuracy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines.decode import decode, rgba

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_MAX_RATIO = 16
_RESIZES = ("squash", "shortest", "longest")

__all__ = ["ImageLike", "ImagePreprocess", "decode", "flatten", "rgba"]

ImageLike = str | Path | bytes | Image.Image | np.ndarray


class ImagePreprocess:
    """Any image to uint8 `[n, size, size, 3]`.

    Args:
      size: side of the output in pixels.
      resize: "squash" both sides to `size`; "shortest" side to `size`, then the centre is cut out;
        "longest" side to `size`, then `background` is added on both sides.
      interpolation: "bicubic" or "bilinear", both antialiased.
      background: RGB 0..255 behind transparent pixels and in the borders of "longest".
      mean: per channel, of pixels scaled to 0..1; subtracted on the device, not here.
      std: per channel, likewise; divided by on the device.

    Raises:
      ValueError: an unknown name, a size below 1, a colour out of range, a std of 0.
    """

    def __init__(
        self,
        size: int,
        *,
        resize: str = "squash",
        interpolation: str = "bicubic",
        background: Sequence[int] = (255, 255, 255),
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        if resize not in _RESIZES:
            raise ValueError(f"resize must be one of {', '.join(_RESIZES)}; got {resize!r}")
        if interpolation not in _FILTERS:
            raise ValueError(
                f"interpolation must be one of {', '.join(_FILTERS)}; got {interpolation!r}"
            )
        if len(background) != 3 or not all(0 <= value <= 255 for value in background):
            raise ValueError(f"background must be 3 values in 0..255, got {tuple(background)}")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(
                f"mean and std must be 3 values each, std above 0; got {mean} and {std}"
            )
        self.size = size
        self.resize = resize
        self.interpolation = interpolation
        self.background = tuple(int(value) for value in background)
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)

    def __call__(self, images: ImageLike | Sequence[ImageLike]) -> np.ndarray:
        """Pixels of one image or of a list of them, always with the leading axis.

        Args:
          images: paths, file contents, Pillow images, uint8 arrays `[h, w]`, `[h, w, 3]` or
            `[h, w, 4]`; or one array `[n, h, w, 3 or 4]`.

        Returns:
          uint8 `[n, size, size, 3]`; n is 1 for one image.

        Raises:
          Reject: an image cannot be used.
          ValueError: an array of another shape or type.
        """
        items: list[ImageLike]
        if isinstance(images, str | Path | bytes | Image.Image):
            items = [images]
        elif isinstance(images, np.ndarray):
            items = list(images) if images.ndim == 4 else [images]
        else:
            items = list(images)
        out = np.empty((len(items), self.size, self.size, 3), np.uint8)
        for row, item in zip(out, items, strict=True):
            row[:] = self._one(_pixels(item))
        return out

    def to_dict(self) -> dict[str, Any]:
        """The constructor's arguments, for a card."""
        return {
            "size": self.size,
            "resize": self.resize,
            "interpolation": self.interpolation,
            "background": list(self.background),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ImagePreprocess":
        """The preprocessing that `to_dict` described."""
        return cls(**values)

    def __repr__(self) -> str:
        return f"ImagePreprocess({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"

    def _one(self, pixels: np.ndarray) -> np.ndarray:
        if self.resize == "shortest":
            pixels = _limit_ratio(pixels)
        image = Image.fromarray(flatten(pixels, self.background))
        width, height = image.size
        wide, high = _target(width, height, self.size, self.resize)
        if (wide, high) != image.size:
            image = image.resize((wide, high), _FILTERS[self.interpolation])
        if self.resize == "shortest":
            # Rounded down, as in transformers, where exported models get their pictures.
            left, top = (wide - self.size) // 2, (high - self.size) // 2
            image = image.crop((left, top, left + self.size, top + self.size))
        elif self.resize == "longest":
            canvas = Image.new("RGB", (self.size, self.size), self.background)
            canvas.paste(image, ((self.size - wide) // 2, (self.size - high) // 2))
            image = canvas
        return np.asarray(image)


def flatten(pixels: np.ndarray, background: Sequence[int]) -> np.ndarray:
    """RGBA `[h, w, 4]` over a colour: uint8 `[h, w, 3]`, so that hidden colours stay hidden."""
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(colours)
    behind = np.asarray(background, np.uint32)
    covered = alpha.astype(np.uint32)
    return ((colours * covered + behind * (255 - covered) + 127) // 255).astype(np.uint8)


def _limit_ratio(pixels: np.ndarray) -> np.ndarray:
    """The middle of a very long image: 1 x 30000 would grow to gigabytes before it is cut."""
    height, width = pixels.shape[:2]
    keep = _MAX_RATIO * min(height, width)
    top, left = max(0, (height - keep) // 2), max(0, (width - keep) // 2)
    return pixels[top : top + keep, left : left + keep]


def _target(width: int, height: int, size: int, resize: str) -> tuple[int, int]:
    """Width and height to resize to; "shortest" drops the fraction of a pixel, as torchvision."""
    if resize == "squash":
        return size, size
    short, long = min(width, height), max(width, height)
    if resize == "shortest":
        other = int(size * long / short)
        return (size, other) if width <= height else (other, size)
    other = max(1, round(size * short / long))
    return (other, size) if width <= height else (size, other)


def _pixels(image: ImageLike) -> np.ndarray:
    """uint8 RGBA `[h, w, 4]`."""
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
