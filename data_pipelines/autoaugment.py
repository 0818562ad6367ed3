"""AutoAugment for photographs: one of the 25 pairs of operations that were found on ImageNet.

References:
  Cubuk et al., 2018, https://arxiv.org/abs/1805.09501, table 9; strengths, nearest pixels and black
  borders as in torchvision's `AutoAugment` on Pillow images.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

_LEVELS = 10
_NEAREST = Image.Resampling.NEAREST
_Matrix = tuple[float, float, float, float, float, float]

# (operation, chance, level from 0 to 9 where the operation has one), twice.
_Step = tuple[str, float, int]
POLICIES: tuple[tuple[_Step, _Step], ...] = (
    (("posterise", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarise", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("equalise", 0.8, 0), ("equalise", 0.6, 0)),
    (("posterise", 0.6, 7), ("posterise", 0.6, 6)),
    (("equalise", 0.4, 0), ("solarise", 0.2, 4)),
    (("equalise", 0.4, 0), ("rotate", 0.8, 8)),
    (("solarise", 0.6, 3), ("equalise", 0.6, 0)),
    (("posterise", 0.8, 5), ("equalise", 1.0, 0)),
    (("rotate", 0.2, 3), ("solarise", 0.6, 8)),
    (("equalise", 0.6, 0), ("posterise", 0.4, 6)),
    (("rotate", 0.8, 8), ("saturation", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalise", 0.6, 0)),
    (("equalise", 0.0, 0), ("equalise", 0.8, 0)),
    (("invert", 0.6, 0), ("equalise", 1.0, 0)),
    (("saturation", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("saturation", 1.0, 2)),
    (("saturation", 0.8, 8), ("solarise", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 0)),
    (("shear_x", 0.6, 5), ("equalise", 1.0, 0)),
    (("saturation", 0.4, 0), ("equalise", 0.6, 0)),
    (("equalise", 0.4, 0), ("solarise", 0.2, 4)),
    (("solarise", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("invert", 0.6, 0), ("equalise", 1.0, 0)),
    (("saturation", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalise", 0.8, 0), ("equalise", 0.6, 0)),
)


def autoaugment(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture after one of the policies.

    Args:
      rgb: uint8 `[h, w, 3]`.
      rng: decides policy, operations and directions.

    Returns:
      uint8 `[h, w, 3]`.
    """
    image = Image.fromarray(rgb)
    policy = POLICIES[rng.integers(len(POLICIES))]
    for name, chance, level in policy:
        used, onward = rng.random(2)
        if used < chance:
            share = level / (_LEVELS - 1)
            image = OPERATIONS[name](image, share if onward < 0.5 else -share)
    return np.asarray(image)


def _moved(image: Image.Image, matrix: _Matrix) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, _NEAREST)


def _posterised(image: Image.Image, share: float) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(4 * abs(share)))


def _solarised(image: Image.Image, share: float) -> Image.Image:
    lightest = 255 * (1 - abs(share))  # of what stays; rounding errors of a ninth are none of it
    return ImageOps.solarize(image, math.ceil(round(lightest, 3)))


# From a picture and the share of the full strength, its sign the direction, to a picture.
OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "shear_x": lambda image, share: _moved(image, (1, 0.3 * share, 0, 0, 1, 0)),
    "rotate": lambda image, share: image.rotate(30 * share, _NEAREST),
    "saturation": lambda image, share: ImageEnhance.Color(image).enhance(1 + 0.9 * share),
    "contrast": lambda image, share: ImageEnhance.Contrast(image).enhance(1 + 0.9 * share),
    "sharpness": lambda image, share: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * share),
    "posterise": _posterised,
    "solarise": _solarised,
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalise": lambda image, _: ImageOps.equalize(image),
    "invert": lambda image, _: ImageOps.invert(image),
}
