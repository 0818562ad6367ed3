"""What a photograph may change besides its crop, on 8 bits, as torchvision does on Pillow images.

Each function is a function of its arguments alone; what is random is drawn by whoever calls.

References:
  torchvision's `functional.adjust_*`; Chen et al., SimCLR, 2020, https://arxiv.org/abs/2002.05709;
  Caron et al., DINO, 2021, https://arxiv.org/abs/2104.14294, whose blur and solarisation are
  Pillow's.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

_LARGEST_SIGMA, _SMALLEST_SIGMA = 2.0, 0.1


def brightness(image: Image.Image, factor: float) -> Image.Image:
    """Black at 0, the picture at 1."""
    return ImageEnhance.Brightness(image).enhance(factor)


def contrast(image: Image.Image, factor: float) -> Image.Image:
    """The mean grey at 0, the picture at 1."""
    return ImageEnhance.Contrast(image).enhance(factor)


def saturation(image: Image.Image, factor: float) -> Image.Image:
    """Grey at 0, the picture at 1."""
    return ImageEnhance.Color(image).enhance(factor)


def hue(image: Image.Image, turns: float) -> Image.Image:
    """Colours turned around the circle, by -0.5 to 0.5 of it."""
    tone, *others = image.convert("HSV").split()
    turned = np.asarray(tone) + np.uint8(int(turns * 255) % 256)  # bytes go around with the circle
    return Image.merge("HSV", (Image.fromarray(turned), *others)).convert("RGB")


def grey(image: Image.Image) -> Image.Image:
    """Without colours."""
    return image.convert("L").convert("RGB")


def blur(image: Image.Image, sigma: float) -> Image.Image:
    """Pillow's approximation of a Gaussian, `sigma` in pixels."""
    return image.filter(ImageFilter.GaussianBlur(sigma))


def solarise(image: Image.Image) -> Image.Image:
    """What is lighter than the middle inverted."""
    return ImageOps.solarize(image)


def sigma(share: float) -> float:
    """Of a blur, in pixels, between SimCLR's smallest and largest; `share` from 0 to 1."""
    return _SMALLEST_SIGMA + (_LARGEST_SIGMA - _SMALLEST_SIGMA) * share


_COLOURS: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    brightness,
    contrast,
    saturation,
    hue,
)


def jitter(
    image: Image.Image, rng: np.random.Generator, *, strengths: Sequence[float]
) -> Image.Image:
    """Colours changed in any order, as torchvision's `ColorJitter`.

    Args:
      image: RGB.
      rng: decides order and factors; as many numbers are drawn whatever the strengths.
      strengths: of brightness, contrast and saturation, whose factors are uniform from 1 - x (0 at
        least) to 1 + x; and of hue, in turns to either side.
    """
    order, drawn = rng.permutation(len(_COLOURS)), rng.random(len(_COLOURS))
    for place in order.tolist():
        operation, strength = _COLOURS[place], strengths[place]
        if strength:
            least, middle = (-strength, 0.0) if operation is hue else (max(0.0, 1 - strength), 1.0)
            image = operation(image, least + (middle + strength - least) * float(drawn[place]))
    return image


def blanked(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A rectangle of any colour in it, its sides an eighth to a third of the picture's.

    Args:
      rgb: uint8 `[h, w, 3]`; left as it is.
      rng: decides.
    """
    height, width = rgb.shape[:2]
    high, wide = (int(rng.integers(x // 8, x // 3, endpoint=True)) for x in (height, width))
    top, left = int(rng.integers(0, height - high)), int(rng.integers(0, width - wide))
    out = rgb.copy()
    out[top : top + high, left : left + wide] = rng.integers(0, 256, 3, np.uint8)
    return out
