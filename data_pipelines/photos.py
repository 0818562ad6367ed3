"""Parts of encoded pictures: nothing is decoded, converted or resized that they do not show.

A JPEG is decoded at the fewest eighths of its size at which the part still has the pixels that are
asked for, see `decode.jpeg_rgb`; what is beside the part is cut off before anything else. Pictures
of other formats, and JPEGs that libjpeg refuses, are decoded whole.
"""

import dataclasses
import math

import numpy as np

from data_pipelines.crops import Box
from data_pipelines.decode import decode, jpeg_header, jpeg_rgb
from data_pipelines.pixels import flatten
from data_pipelines.resize import resized
from data_pipelines.simd import SIMD

_WHOLE = 8  # eighths
_HALVES = (1, 2, 4)


@dataclasses.dataclass(frozen=True)
class Photo:
    """A picture that is decoded as far as is asked; made by `open_photo`.

    Attributes:
      height, width: as it is shown, in pixels.
      data: of its file.
      background: RGB 0..255 behind transparent pixels.
      max_pixels: largest accepted `height * width`.
      orientation: how it is stored, see `exif`.
      pixels: uint8 RGB `[height, width, 3]` of what is no JPEG.
    """

    height: int
    width: int
    data: bytes
    background: tuple[int, int, int]
    max_pixels: int
    orientation: int = 1
    pixels: np.ndarray | None = None

    @property
    def whole(self) -> Box:
        """All of it."""
        return Box(0, 0, self.width, self.height)

    def show(self, box: Box, *, size: int | tuple[int, int], interpolation: str) -> np.ndarray:
        """A part of the picture, antialiased, uint8 `[height, width, 3]`.

        Args:
          box: the part, in pixels of the picture.
          size: width and height of the output; one number for both.
          interpolation: one of `resize.FILTERS` or of `simd.SIMD`.

        Raises:
          Reject: the picture is damaged.
        """
        shape = (size, size) if isinstance(size, int) else size
        eighths, pixels = self._decoded(_enough(box, shape, interpolation))
        part, inside = _cut(pixels, box, eighths / _WHOLE)
        return resized(part, shape, interpolation=interpolation, box=inside)

    def _decoded(self, eighths: int) -> tuple[int, np.ndarray]:
        """All of the picture, and the eighths of its size that it is decoded at."""
        if self.pixels is not None:
            return _WHOLE, self.pixels
        enough = (-(-self.height * eighths // _WHOLE), -(-self.width * eighths // _WHOLE))
        at_least = enough if eighths < _WHOLE else None
        pixels = jpeg_rgb(self.data, orientation=self.orientation, at_least=at_least)
        if pixels is None:  # Pillow says what is wrong with it, or reads it all the same
            pixels = flatten(decode(self.data, max_pixels=self.max_pixels), self.background)
            return _WHOLE, pixels
        return eighths, pixels


def open_photo(data: bytes, *, background: tuple[int, int, int], max_pixels: int) -> Photo:
    """The picture of a file, not decoded if it is a JPEG.

    Args:
      data: of the file, as for `decode.decode`.
      background: RGB 0..255 behind transparent pixels.
      max_pixels: largest accepted `h * w`.

    Raises:
      Reject: as `decode.decode`, or with `Photo.show`.
    """
    header = jpeg_header(data, max_pixels=max_pixels)
    if header is not None:
        height, width, orientation = header
        return Photo(height, width, data, background, max_pixels, orientation)
    pixels = flatten(decode(data, max_pixels=max_pixels), background)
    height, width = pixels.shape[:2]
    return Photo(height, width, data, background, max_pixels, pixels=pixels)


def _enough(box: Box, shape: tuple[int, int], interpolation: str) -> int:
    """The fewest eighths at which a part has as many columns and rows, or eight."""
    width, height = shape
    needed = math.ceil(max(_WHOLE * height / box.height, _WHOLE * width / box.width))
    # Fractions other than halves are slower to decode than the whole. A slow resize of fewer
    # pixels makes up for that.
    cheap = _HALVES if interpolation in SIMD else range(1, _WHOLE)
    return next((eighths for eighths in cheap if eighths >= needed), _WHOLE)


def _cut(pixels: np.ndarray, box: Box, scale: float) -> tuple[np.ndarray, Box]:
    """The pixels that a part covers, some of them half, and where in them it lies.

    Args:
      pixels: of all of the picture, `scale` of its size, uint8 `[h, w, 3]`.
      box: the part, at the full size.
      scale: at most 1.
    """
    height, width = pixels.shape[:2]
    left, top = box.left * scale, box.top * scale
    right, bottom = min(box.right * scale, width), min(box.bottom * scale, height)
    first, above = math.floor(left), math.floor(top)
    part = pixels[above : math.ceil(bottom), first : math.ceil(right)]
    return part, Box(left - first, top - above, right - first, bottom - above)
