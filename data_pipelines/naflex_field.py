"""The field of training pictures at their own aspect ratio: patches, as many as a budget allows.

References:
  Tschannen et al., "SigLIP 2", 2025, https://arxiv.org/abs/2502.14786; Dehghani et al., "Patch n'
  Pack: NaViT", 2023, https://arxiv.org/abs/2307.06304.
"""

import numpy as np

from data_pipelines.crops import Box, random_box
from data_pipelines.fields import Example, picture_numbers
from data_pipelines.naflex import NaflexPreprocess, patches_of
from data_pipelines.photo_augment import PhotoAugment
from data_pipelines.photos import Photo, open_photo


class NaflexPictures:
    """Augmented images as patches, a row with the names of `NaflexPatches`:

    `patches` uint8 `[p, 3 * patch_size**2]`, `mask` bool `[p]`, `grid` int32 `[2]`. A part of the
    picture is resized to whole patches, its aspect kept as nearly as they allow, then changed.

    Args:
      augment: without a size; its `ratio` is relative to the picture's own width over height, so
        that a panorama stays one.
      cut: patch size and budget; of its other settings none matters here.

    Raises:
      ValueError: the augmentation has a size.
    """

    def __init__(self, augment: PhotoAugment, cut: NaflexPreprocess) -> None:
        if augment.size is not None:
            raise ValueError(
                "pictures at their own aspect ratio have no size of their own, got an augmentation "
                f"to {augment.size} pixels; leave it out"
            )
        self._augment, self._cut = augment, cut
        self.absent = _blank(cut)

    def __call__(self, example: Example) -> np.ndarray:
        """The image as this epoch shows it."""
        photo = open_photo(
            example.source.image(example.index),
            background=self._augment.background,
            max_pixels=example.source.limits.pixels,
        )
        return self._row(self._shown(photo, picture_numbers(example)))

    def _shown(self, photo: Photo, rng: np.random.Generator) -> np.ndarray:
        """uint8 `[rows * patch_size, columns * patch_size, 3]`."""
        box = self._box(photo, rng)
        rows, columns = self._cut.grid(round(box.height), round(box.width))
        size = columns * self._cut.patch_size, rows * self._cut.patch_size
        rgb = photo.show(box, size=size, interpolation=self._augment.interpolation)
        return self._augment.changed(rgb, rng)

    def _box(self, photo: Photo, rng: np.random.Generator) -> Box:
        if self._augment.crop is None:
            return photo.whole
        own, (low, high) = photo.width / photo.height, self._augment.ratio
        return random_box(
            photo.height,
            photo.width,
            rng,
            area=self._augment.crop,
            ratio=(low * own, high * own),
        )

    def _row(self, pixels: np.ndarray) -> np.ndarray:
        side = self._cut.patch_size
        patches = patches_of(pixels, side)
        row = np.zeros_like(self.absent)
        row["patches"][: len(patches)] = patches
        row["mask"][: len(patches)] = True
        row["grid"][:] = [length // side for length in pixels.shape[:2]]
        return row


def _blank(cut: NaflexPreprocess) -> np.ndarray:
    """One black patch: a mean over no patch at all would not be finite."""
    p, values = cut.max_num_patches, 3 * cut.patch_size**2
    parts = [
        ("patches", np.uint8, (p, values)),
        ("mask", np.bool_, (p,)),
        ("grid", np.int32, (2,)),
    ]
    row = np.zeros((), np.dtype(parts, align=True))
    row["mask"][0], row["grid"][:] = True, 1
    return row
