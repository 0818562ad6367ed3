"""Training-time augmentation of photographs: an encoded picture and a generator in, RGB out.

A crop at a random place, of any size and aspect, then what SimCLR, DINO and the authors of ALBEF do
to it, all on 8 bits. What suits drawings is `data_pipelines.augment`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image

from data_pipelines import photo_ops
from data_pipelines.augment import check_randaugment, check_range, check_strengths
from data_pipelines.autoaugment import autoaugment
from data_pipelines.crops import random_box
from data_pipelines.limits import MAX_PIXELS
from data_pipelines.photos import open_photo
from data_pipelines.pixels import check_colour
from data_pipelines.randaugment import randaugment
from data_pipelines.resize import check_interpolation

_COLOURS = ("brightness", "contrast", "saturation", "hue")
_CHANCES = 6  # what is done or not, at most


@dataclasses.dataclass(frozen=True)
class PhotoAugment:
    """Augments one photograph; the result is a function of its file and the generator only.

    Options that end in `_p` are probabilities; a strength or probability of 0 turns an option off;
    unless it is said, all are off, and the picture is resized and nothing else. They follow each
    other in the order in which they stand here.

    Args:
      size: height and width of the output, in pixels; None where they are the picture's own, see
        `naflex_field.NaflexPictures`.
      crop: smallest and largest share of the picture's area that is shown, see `crops.random_box`;
        None shows the whole picture, its sides squashed to a square.
      ratio: smallest and largest width over height of what is shown.
      interpolation: one of `simd.SIMD` or of `resize.FILTERS`, antialiased.
      background: colour behind transparent pixels, uint8 RGB.
      flip_p: left and right exchanged; rarely asked for, for captions speak of left and right.
      brightness, contrast, saturation, hue: as of torchvision's `ColorJitter`, in any order.
      jitter_p: how often these four are changed at all.
      grey_p: no colours.
      blur_p: a blur of 0.1 to 2 pixels.
      solarise_p: what is light inverted.
      randaugment: count and strength (to 10) of `randaugment.randaugment`.
      autoaugment: whether one of AutoAugment's policies is done.
      cutout_p: a rectangle blanked.

    Raises:
      ValueError: for an option outside its range.
    """

    size: int | None
    _: dataclasses.KW_ONLY
    crop: tuple[float, float] | None = None
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bicubic_simd"
    background: tuple[int, int, int] = (255, 255, 255)
    flip_p: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_p: float = 1.0
    grey_p: float = 0.0
    blur_p: float = 0.0
    solarise_p: float = 0.0
    randaugment: tuple[int, float] | None = None
    autoaugment: bool = False
    cutout_p: float = 0.0

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 8:
            raise ValueError(f"size must be at least 8 pixels, got {self.size}")
        check_colour("background", self.background)
        check_interpolation(self.interpolation)
        if self.crop is not None:
            check_range("crop", self.crop, most=1)
        check_range("ratio", self.ratio, most=100)
        check_randaugment(self.randaugment)
        if self.hue > 0.5:
            raise ValueError(f"hue is in turns to either side and at most 0.5, got {self.hue}")
        options = vars(self).items()
        check_strengths({k: v for k, v in options if k in _COLOURS or k.endswith("_p")})

    def of_file(
        self, data: bytes, rng: np.random.Generator, *, max_pixels: int = MAX_PIXELS
    ) -> np.ndarray:
        """Returns uint8 `[size, size, 3]` from an encoded picture, of any format that is read.

        Args:
          data: of the file.
          rng: decides all that is random.
          max_pixels: largest accepted `h * w`.

        Raises:
          Reject: the picture cannot be used.
          ValueError: there is no size.
        """
        if self.size is None:
            raise ValueError("a square picture needs a size of at least 8 pixels, got None")
        photo = open_photo(data, background=self.background, max_pixels=max_pixels)
        box = photo.whole
        if self.crop is not None:
            sides = photo.height, photo.width
            box = random_box(*sides, rng, area=self.crop, ratio=self.ratio)
        rgb = photo.show(box, size=self.size, interpolation=self.interpolation)
        return self.changed(rgb, rng)

    def changed(self, rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What comes after the crop: uint8 `[h, w, 3]` of a picture of any shape."""
        # All drawn at once, so that turning one off does not change the others.
        flip, coloured, grey, soft, solar, blank = rng.random(_CHANCES).tolist()
        strengths = [getattr(self, name) for name in _COLOURS]
        sigma = photo_ops.sigma(rng.random())
        if flip < self.flip_p:
            rgb = rgb[:, ::-1]
        steps: tuple[tuple[bool, Callable[[Image.Image], Image.Image]], ...] = (
            (
                coloured < self.jitter_p and any(strengths),
                lambda image: photo_ops.jitter(image, rng, strengths=strengths),
            ),
            (grey < self.grey_p, photo_ops.grey),
            (soft < self.blur_p, lambda image: photo_ops.blur(image, sigma)),
            (solar < self.solarise_p, photo_ops.solarise),
        )
        rgb = _through(rgb, [step for used, step in steps if used])
        if self.randaugment is not None:
            count, strength = self.randaugment
            rgb = randaugment(rgb, rng, count=count, strength=strength)
        if self.autoaugment:
            rgb = autoaugment(rgb, rng)
        if blank < self.cutout_p:
            rgb = photo_ops.blanked(rgb, rng)
        return np.ascontiguousarray(rgb)


def _through(rgb: np.ndarray, steps: list[Callable[[Image.Image], Image.Image]]) -> np.ndarray:
    if not steps:
        return rgb
    image = Image.fromarray(np.ascontiguousarray(rgb))
    for step in steps:
        image = step(image)
    return np.asarray(image)
