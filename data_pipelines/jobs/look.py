"""What a picture looks like in a few numbers, by which equal and empty pictures are found."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from scipy.fft import dct

HASHED = 32  # pixels a side from which the hash is taken
SMALL = 8  # pixels a side of the small picture
_WHITE = (255, 255, 255, 255)


class Look(NamedTuple):
    """A picture in a few numbers.

    Attributes:
      phash: 64 bits that change little when the picture is scaled or compressed again.
      small: the picture at 8 x 8 pixels, RGB, row by row.
      spread: standard deviation of the brightness, 0 to 127; of an empty picture nearly 0.
    """

    phash: int
    small: bytes
    spread: float


def look_at(pixels: UInt8[np.ndarray, "h w 4"]) -> Look:
    """How a picture looks; what is transparent is white."""
    image = Image.alpha_composite(
        Image.new("RGBA", (pixels.shape[1], pixels.shape[0]), _WHITE), Image.fromarray(pixels)
    ).convert("RGB")
    grey = image.convert("L").resize((HASHED, HASHED), Image.Resampling.LANCZOS)
    small = image.resize((SMALL, SMALL), Image.Resampling.BOX)
    brightness = np.asarray(grey, np.float64)
    return Look(perceptual_hash(brightness), small.tobytes(), float(brightness.std()))


def perceptual_hash(brightness: np.ndarray) -> int:
    """The signs of the lowest 8 x 8 frequencies against their median, the first the highest bit.

    The bits are those of `imagehash.phash`.

    Args:
      brightness: `[32, 32]`.

    References:
      Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010.
    """
    low = dct(dct(brightness, axis=0), axis=1)[:8, :8]
    bits = np.packbits(low > np.median(low))
    return int.from_bytes(bits.tobytes(), "big")
