"""Parts of encoded pictures: nothing is decoded, converted or resized that they do not show.

A JPEG is decoded at the fewest eighths of its size at which the part still has the pixels that are
asked for, see `decode.jpeg_rgb`; what is beside the part is cut off before anything else. Pictures
of other formats, and JPEGs that libjpeg refuses, are decoded whole.
"""

import dataclasses
import math

import numpy as np

from data_pipelines.crops import Box
from data_pipelines.decode import decode, jpeg_rgb, jpeg_size
from data_pipelines.pixels import flatten
from data_pipelines.resize import resized

_EIGHTHS = 8


@dataclasses.dataclass(frozen=True)
class Photo:
    """A picture that is decoded as far as is asked; made by `open_photo`.

    Attributes:
      height, width: as it is shown, in pixels.
      data: of its file.
      background: RGB 0..255 behind transparent pixels.
      max_pixels: largest accepted `height * width`.
      pixels: uint8 RGB `[height, width, 3]` of what is no JPEG.
    """

    height: int
    width: int
    data: bytes
    background: tuple[int, int, int]
    max_pixels: int
    pixels: np.ndarray | None = None

    @property
    def whole(self) -> Box:
        """All of it."""
        return Box(0, 0, self.width, self.height)

    def show(self, box: Box, *, size: int, interpolation: str) -> np.ndarray:
        """A part of the picture, antialiased, uint8 `[size, size, 3]`.

        Args:
          box: the part, in pixels of the picture.
          size: height and width of the output.
          interpolation: one of `resize.FILTERS`.

        Raises:
          Reject: the picture is damaged.
        """
        pixels, inside = _cut(self._decoded(box, size), box, (self.height, self.width))
        return resized(pixels, (size, size), interpolation=interpolation, box=inside)

    def _decoded(self, box: Box, size: int) -> np.ndarray:
        """All of the picture, in as many eighths as give the part `size` rows and columns."""
        if self.pixels is not None:
            return self.pixels
        high, wide = (math.ceil(size * n / m) for n, m in _sides(self, box))
        pixels = jpeg_rgb(self.data, at_least=(min(high, self.height), min(wide, self.width)))
        if pixels is None:  # Pillow says what is wrong with it, or reads it all the same
            return flatten(decode(self.data, max_pixels=self.max_pixels), self.background)
        return pixels


def open_photo(data: bytes, *, background: tuple[int, int, int], max_pixels: int) -> Photo:
    """The picture of a file, not decoded if it is a JPEG.

    Args:
      data: of the file, as for `decode.decode`.
      background: RGB 0..255 behind transparent pixels.
      max_pixels: largest accepted `h * w`.

    Raises:
      Reject: as `decode.decode`, or with `Photo.show`.
    """
    size = jpeg_size(data, max_pixels=max_pixels)
    if size is not None:
        return Photo(*size, data, background, max_pixels)
    pixels = flatten(decode(data, max_pixels=max_pixels), background)
    return Photo(*pixels.shape[:2], data, background, max_pixels, pixels)


def _sides(photo: Photo, box: Box) -> tuple[tuple[int, float], tuple[int, float]]:
    return (photo.height, box.height), (photo.width, box.width)


def _cut(pixels: np.ndarray, box: Box, full: tuple[int, int]) -> tuple[np.ndarray, Box]:
    """The pixels that a part covers, some of them half, and where in them it lies.

    Args:
      pixels: of all of the picture, in some eighths of its size.
      box: the part, at the full size.
      full: height and width.
    """
    longer = int(full[1] > full[0])
    # The last pixel of a row may stand for less than eight eighths, hence no plain quotient.
    scale = max(1, round(_EIGHTHS * pixels.shape[longer] / full[longer])) / _EIGHTHS
    left, right = _span(box.left, box.right, scale, pixels.shape[1])
    top, bottom = _span(box.top, box.bottom, scale, pixels.shape[0])
    first, above = math.floor(left), math.floor(top)
    part = pixels[above : math.ceil(bottom), first : math.ceil(right)]
    return part, Box(left - first, top - above, right - first, bottom - above)


def _span(first: float, last: float, scale: float, length: int) -> tuple[float, float]:
    return first * scale, min(last * scale, length)
