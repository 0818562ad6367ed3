"""Evaluation preprocessing at the image's own aspect ratio: patches, as many as fit.

References:
  Tschannen et al., "SigLIP 2: Multilingual Vision-Language Encoders", 2025 (arXiv 2502.14786), 3.4;
  Dehghani et al., "Patch n' Pack: NaViT", 2023 (arXiv 2307.06304).
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_pipelines.checks import check_choice, check_whole
from data_pipelines.limits import MAX_PIXELS
from data_pipelines.pixels import (
    ImageLike,
    Preprocess,
    check_colour,
    check_normalisation,
    each,
    rgb_on,
)
from data_pipelines.resize import FILTERS

_PRECISION = 1e-5  # of the scale that is searched; decides on the size, so as in transformers
_LARGEST_SCALE = 100.0


class NaflexPatches(NamedTuple):
    """Images of several shapes in one batch.

    Attributes:
      patches: uint8 `[n, p, 3 * patch_size**2]`, row by row, each as (row, column, channel).
      mask: bool `[n, p]`, True for patches and False for padding.
      grid: int32 `[n, 2]`, rows and columns of patches.
    """

    patches: np.ndarray
    mask: np.ndarray
    grid: np.ndarray


class NaflexPreprocess(Preprocess):
    """Any image to at most `max_num_patches` patches, as `Siglip2ImageProcessor` cuts them.

    Args:
      patch_size: side of a patch in pixels.
      max_num_patches: patches in a row, padding included.
      interpolation: one of Pillow's filters, antialiased; see `ImagePreprocess`.
      background: RGB 0..255 behind transparent pixels.
      mean: per channel, of pixels scaled to 0..1; subtracted on the device, not here.
      std: per channel, likewise; divided by on the device.

    Raises:
      ValueError: an unknown name, a size below 1, a colour out of range, a std of 0.
    """

    kind = "naflex"

    def __init__(
        self,
        *,
        patch_size: int = 16,
        max_num_patches: int = 256,
        interpolation: str = "bilinear",
        background: Sequence[int] = (255, 255, 255),
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        check_whole("patch_size", patch_size)
        check_whole("max_num_patches", max_num_patches)
        check_choice("interpolation", interpolation, FILTERS)
        self.patch_size, self.max_num_patches = patch_size, max_num_patches
        self.interpolation = interpolation
        self.background = check_colour("background", background)
        self.mean, self.std = check_normalisation(mean, std)

    def __call__(
        self, images: ImageLike | Iterable[ImageLike], *, max_pixels: int = MAX_PIXELS
    ) -> NaflexPatches:
        """Patches of one image or of several, always with the leading axis.

        Args:
          images: as for `ImagePreprocess`.
          max_pixels: largest accepted `h * w` of a file or a Pillow image.

        Raises:
          Reject: an image cannot be used.
          ValueError: an array of another type, or of a shape that is no picture or two; no image.
        """
        items = each(images)
        n, p, values = len(items), self.max_num_patches, 3 * self.patch_size**2
        out = NaflexPatches(
            np.zeros((n, p, values), np.uint8), np.zeros((n, p), bool), np.zeros((n, 2), np.int32)
        )
        for i, pixels in enumerate(rgb_on(items, self.background, max_pixels=max_pixels)):
            rows, columns = self.grid(*pixels.shape[:2])
            out.patches[i, : rows * columns] = self._cut(pixels, rows, columns)
            out.mask[i, : rows * columns] = True
            out.grid[i] = rows, columns
        return out

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches for an image of `height` x `width` pixels."""
        low, high = _PRECISION / 10, _LARGEST_SCALE
        while high - low >= _PRECISION:
            scale = (low + high) / 2
            rows, columns = self._count(height, scale), self._count(width, scale)
            fits = rows * columns <= self.max_num_patches
            low, high = (scale, high) if fits else (low, scale)
        return self._count(height, low), self._count(width, low)

    def _count(self, length: int, scale: float) -> int:
        return max(1, math.ceil(length * scale / self.patch_size))

    def _cut(self, pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """uint8 `[rows * columns, 3 * patch_size**2]`."""
        side = self.patch_size
        image = Image.fromarray(pixels).resize(
            (columns * side, rows * side), FILTERS[self.interpolation]
        )
        return patches_of(np.asarray(image), side)


def patches_of(pixels: np.ndarray, side: int) -> np.ndarray:
    """The patches of a picture, row by row, each as (row, column, channel).

    Args:
      pixels: uint8 `[rows * side, columns * side, 3]`.
      side: of a patch.

    Returns:
      uint8 `[rows * columns, 3 * side**2]`.
    """
    rows, columns = (length // side for length in pixels.shape[:2])
    cells = pixels.reshape(rows, side, columns, side, 3)
    return cells.transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1)
