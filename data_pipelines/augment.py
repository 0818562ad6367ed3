"""Seeded training-time augmentation: one RGBA image and a generator in, one RGB image out.

What is here suits photographs: window, place and slant, colours, blur, noise, blanked rectangles,
RandAugment. What a drawing may change besides, such as outlines and flat colours, is a `Style`.
Nothing happens unless it is asked for, and mirroring is asked for rarely: left and right, and
flags, are part of what captions say.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from data_pipelines.filters import bilinear, blur, colour, colour_matrix, grid, mix, premultiplied
from data_pipelines.randaugment import STRONGEST, randaugment

_RANGES = {"scale": 4, "crop": 1}
_NUMBERS = 9  # that a style draws for itself at least


class Style(Protocol):
    """How pictures are drawn anew, such as `data_pipelines.styles.Styles`."""

    def displaced(
        self, u: np.ndarray, v: np.ndarray, rng: np.random.Generator, *, strengths: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where in the picture each pixel of the output looks: x and y in -1..1, `[S, S]` each.

        Args:
          u, v: where it would without a style.
          rng: of all that is random besides.
          strengths: two random numbers in -1..1, for x and y.
        """

    def drawn(
        self,
        rgb: np.ndarray,
        alpha: np.ndarray,
        behind: np.ndarray,
        rng: np.random.Generator,
        *,
        bend: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The colours `[3, S, S]` of the picture, its opacity `[S, S]`, and what is behind it.

        Args:
          rgb, alpha, behind: the same without a style, in 0..1.
          rng: of all that is random besides.
          bend: a random number in -1..1, for a curve of the tones.
        """


@dataclasses.dataclass(frozen=True)
class Augment:
    """Augments one image; the result is a function of the image and the generator only.

    Options that end in `_p` are probabilities; all others are the strength of a change that every
    image gets, as the largest deviation to either side. A strength or probability of 0 turns the
    option off; unless it is said, all are off, and the picture is resized and nothing else.

    Args:
      size: height and width of the output, in pixels.
      scale: smallest and largest size of the whole picture (its sides squashed to a square), as a
        share of the output's size.
      shift: displacement, as a share of the output's size.
      crop: for photos, in place of scale and shift: smallest and largest share of the picture's
        area that a square window at a random place shows.
      aspect, shear: relative change of width to height; slant.
      rotate: degrees.
      brightness, contrast, saturation: relative changes.
      hue: turns of the hue circle; keep it small where colours carry meaning.
      background: colour behind the picture, uint8 RGB.
      blur_p, noise_p, cutout_p: a blur; noise in each channel; a rectangle blanked.
      flip_p: left and right exchanged.
      randaugment: in the end, count and strength (to 10) of `randaugment.randaugment`.
      style: draws the picture anew; None leaves it as it is.

    Raises:
      ValueError: for an option outside its range.
    """

    size: int
    _: dataclasses.KW_ONLY
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    crop: tuple[float, float] | None = None
    aspect: float = 0.0
    shear: float = 0.0
    rotate: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    background: tuple[int, int, int] = (255, 255, 255)
    blur_p: float = 0.0
    noise_p: float = 0.0
    cutout_p: float = 0.0
    flip_p: float = 0.0
    randaugment: tuple[int, float] | None = None
    style: Style | None = None

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError(f"size must be at least 8 pixels, got {self.size}")
        if len(self.background) != 3 or not all(0 <= x <= 255 for x in self.background):
            raise ValueError(f"background must be RGB in 0..255, got {self.background}")
        for name, most in _RANGES.items():
            value = getattr(self, name)
            if value is not None or name != "crop":
                check_range(name, value, most=most)
        check_randaugment(self.randaugment)
        others = (*_RANGES, "background", "randaugment", "style")
        check_strengths({k: v for k, v in vars(self).items() if k not in others})

    def __call__(self, rgba: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns uint8 `[size, size, 3]` from uint8 `[h, w, 4]` with straight alpha.

        Raises:
          ValueError: the image has another shape or type.
        """
        if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.dtype != np.uint8:
            raise ValueError(f"image must be uint8 [h, w, 4], got {rgba.dtype} {list(rgba.shape)}")
        if self.flip_p and rng.random() < self.flip_p:
            rgba = rgba[:, ::-1]
        picture = self._place(rgba, rng)
        rgb, alpha = picture[:3] / np.maximum(picture[3], 1e-3), picture[3]
        r = rng.uniform(-1, 1, 5).tolist()
        rgb = self._recolour(rgb, r)
        behind = (np.asarray(self.background, np.float32) / 255)[:, None, None]
        if self.style is not None:
            rgb, alpha, behind = self.style.drawn(rgb, alpha, behind, rng, bend=r[4])
        else:
            rng.random(_NUMBERS)  # as a style with all off: what comes after stays the same
        rgb = self._degrade(behind + alpha * (rgb - behind), rng)
        out = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
        out = np.ascontiguousarray(out.transpose(1, 2, 0))
        if self.randaugment is None:
            return out
        count, strength = self.randaugment
        return randaugment(out, rng, count=count, strength=strength)

    def _place(self, rgba, rng):
        """The picture under a random affine map, premultiplied float [4, S, S]."""
        h, w = rgba.shape[:2]
        r = rng.uniform(-1, 1, 8).tolist()
        (width, height), (x0, y0) = self._window(h, w, r, rng)
        factor = int(min(width * w, height * h) / self.size)
        if factor >= 2:  # sampling a large picture at few points would alias
            image = Image.fromarray(rgba).convert("RGBa").reduce(factor).convert("RGBA")
            rgba = np.asarray(image)
            h, w = rgba.shape[:2]
        u, v = grid(self.size)
        if self.style is not None:
            u, v = self.style.displaced(u, v, rng, strengths=r[6:])
        angle, stretch = math.radians(self.rotate * r[2]), math.exp(self.aspect * r[1] / 2)
        cos, sin, slant = math.cos(angle), math.sin(angle), self.shear * r[3]
        # Output to source: the inverses of rotation, slant and stretch are as random as these.
        x_of_u, x_of_v = stretch * cos, stretch * (slant * cos - sin)
        y_of_u, y_of_v = sin / stretch, (cos + slant * sin) / stretch
        x = np.float32(x_of_u * width * w / 2) * u + np.float32(x_of_v * width * w / 2) * v
        y = np.float32(y_of_u * height * h / 2) * u + np.float32(y_of_v * height * h / 2) * v
        x += np.float32((x0 + 1) * w / 2 - 0.5)
        y += np.float32((y0 + 1) * h / 2 - 0.5)
        return bilinear(premultiplied(rgba), x, y)

    def _window(self, h, w, r, rng):
        """Size as shares of width and height, and centre in -1..1, of what the output shows."""
        if self.crop is None:
            low, high = self.scale
            share = 1 / (low + (high - low) * (r[0] + 1) / 2)
            return (share, share), (2 * self.shift * r[4], 2 * self.shift * r[5])
        side = math.sqrt(rng.uniform(*self.crop) * h * w)
        width, height = min(1.0, side / w), min(1.0, side / h)
        return (width, height), ((1 - width) * r[4], (1 - height) * r[5])

    def _recolour(self, rgb, r):
        """Linear colour jitter."""
        contrast = 1 + self.contrast * r[1]
        matrix = colour_matrix(
            gain=(1 + self.brightness * r[0]) * contrast,
            saturation=1 + self.saturation * r[3],
            turn=self.hue * r[2],
        )
        return np.clip(mix(matrix, rgb) + np.float32(0.5 * (1 - contrast)), 0, 1)

    def _degrade(self, rgb, rng):
        """Blur, noise, a blanked rectangle."""
        soft, noise, cutout = rng.random(3)
        if soft < self.blur_p:
            for _ in range(int(rng.integers(1, 4))):
                rgb = blur(rgb)
        if noise < self.noise_p:
            grain = rng.integers(-128, 128, rgb.shape, dtype=np.int8).astype(np.float32)
            rgb = rgb + grain * np.float32(rng.uniform(0.02, 0.12) / 128)
        if cutout < self.cutout_p:
            h, w = rng.integers(self.size // 8, self.size // 3, 2, endpoint=True)
            y, x = rng.integers(0, self.size - h), rng.integers(0, self.size - w)
            rgb = rgb.copy()
            rgb[:, y : y + h, x : x + w] = colour(rng)
        return rgb


def check_range(name: str, value: Sequence[float], *, most: float) -> None:
    """Raises ValueError where it is not (low, high), above 0 and up to `most`."""
    if len(value) != 2 or not 0 < value[0] <= value[1] <= most:
        raise ValueError(f"{name} must be (low, high) with 0 < low <= high <= {most}, got {value}")


def check_randaugment(drawn: Sequence[float] | None) -> None:
    """Raises ValueError where it is neither None nor (count, strength) in their ranges."""
    if drawn is not None and not (len(drawn) == 2 and drawn[0] >= 1 and 0 <= drawn[1] <= STRONGEST):
        raise ValueError(
            "randaugment must be (count, strength), at least 1 operation and a strength from 0 "
            f"to {STRONGEST:g}, got {drawn}; try (2, 7), or None to turn it off"
        )


def check_strengths(options: Mapping[str, Any]) -> None:
    """Raises ValueError for a probability (`..._p`) outside 0..1 or a strength under 0."""
    for name, value in options.items():
        if name.endswith("_p") and not 0 <= value <= 1:
            raise ValueError(f"{name} is a probability and must be in 0..1, got {value}")
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value}; 0 turns it off")
