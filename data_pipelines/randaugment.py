"""RandAugment for photographs: a few operations of Pillow, drawn at random, all at one strength.

The operations and strengths are those of ALBEF, BLIP and VLMo, which share one file; they leave out
what changes hues (captions name colours). Areas that a picture does not reach become grey.

References:
  Cubuk et al., 2020, https://arxiv.org/abs/1909.13719; Li et al., 2021,
  https://github.com/salesforce/ALBEF (`dataset/randaugment.py`). Different: pixels lie as in
  Pillow, not as in OpenCV, which moves sheared and turned pictures by half a pixel at most; bytes
  do not overflow, as they do there in sharpened pictures and in stretched ones without black.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

STRONGEST = 10.0
_GREY = (128, 128, 128)


def randaugment(
    rgb: np.ndarray, rng: np.random.Generator, *, count: int, strength: float
) -> np.ndarray:
    """The picture after `count` operations, of which each is left out with a chance of one half.

    Args:
      rgb: uint8 `[h, w, 3]`.
      rng: decides operations and directions, and nothing else does.
      count: operations, drawn with replacement from `OPERATIONS`.
      strength: from 0 to `STRONGEST`.

    Returns:
      uint8 `[h, w, 3]`.
    """
    image = Image.fromarray(rgb)
    names = tuple(OPERATIONS)
    share = strength / STRONGEST
    for _ in range(count):
        name = names[rng.integers(len(names))]
        used, onward = rng.random(2) < 0.5
        if used:
            image = OPERATIONS[name](image, share if onward else -share)
    return np.asarray(image)


def _moved(image: Image.Image, x: tuple[float, float, float], y: tuple[float, float, float]):
    """Each pixel from where its coordinates (x, y, 1) say, between pixels in proportion."""
    return image.transform(
        image.size, Image.Transform.AFFINE, (*x, *y), Image.Resampling.BILINEAR, fillcolor=_GREY
    )


def _rotated(image: Image.Image, share: float) -> Image.Image:
    """Up to 30 degrees."""
    return image.rotate(30 * share, Image.Resampling.BILINEAR, fillcolor=_GREY)


def _factor(share: float) -> float:
    """Of brightness and sharpness: from 0.1 to 1.9, 1 at half the strength; no direction."""
    return 0.1 + 1.8 * math.fabs(share)


# From a picture and the share of the full strength, its sign the direction, to a picture.
OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda image, _: image,
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "brightness": lambda image, share: ImageEnhance.Brightness(image).enhance(_factor(share)),
    "sharpness": lambda image, share: ImageEnhance.Sharpness(image).enhance(_factor(share)),
    "shear_x": lambda image, share: _moved(image, (1, -0.3 * share, 0), (0, 1, 0)),
    "shear_y": lambda image, share: _moved(image, (1, 0, 0), (-0.3 * share, 1, 0)),
    "translate_x": lambda image, share: _moved(image, (1, 0, 10 * share), (0, 1, 0)),
    "translate_y": lambda image, share: _moved(image, (1, 0, 0), (0, 1, 10 * share)),
    "rotate": _rotated,
}
