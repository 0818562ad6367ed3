"""Crops at random: whole pixels of a picture, by the law of torchvision and timm.

References:
  Szegedy et al., "Going deeper with convolutions", 2014, https://arxiv.org/abs/1409.4842;
  torchvision's `RandomResizedCrop.get_params`, which timm repeats.
"""

import math
from typing import NamedTuple

import numpy as np

_TRIES = 10


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top


def random_box(
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    area: tuple[float, float],
    ratio: tuple[float, float],
) -> Box:
    """A part of a picture at a random place.

    Its share of the area is uniform, and so is the logarithm of its width over its height; what
    does not fit into the picture is drawn again. After ten times it is the centre of the picture,
    as much of it as `ratio` allows.

    Args:
      height, width: of the picture, in pixels.
      rng: decides.
      area: smallest and largest share of the picture's area.
      ratio: smallest and largest width over height.
    """
    least, low, high_ratio = area[0], math.log(ratio[0]), math.log(ratio[1])
    for _ in range(_TRIES):
        # As `rng.uniform`, which takes four times as long for one number.
        pixels = height * width * (least + (area[1] - least) * rng.random())
        over = math.exp(low + (high_ratio - low) * rng.random())
        wide, high = round(math.sqrt(pixels * over)), round(math.sqrt(pixels / over))
        if 0 < wide <= width and 0 < high <= height:
            top = int(rng.integers(height - high, endpoint=True))
            left = int(rng.integers(width - wide, endpoint=True))
            return Box(left, top, left + wide, top + high)
    return _central(height, width, ratio)


def _central(height: int, width: int, ratio: tuple[float, float]) -> Box:
    wide, high = width, height
    if width / height < ratio[0]:
        high = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        wide = max(1, round(height * ratio[1]))
    left, top = (width - wide) // 2, (height - high) // 2
    return Box(left, top, left + wide, top + high)
