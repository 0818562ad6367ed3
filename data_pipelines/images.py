"""Evaluation preprocessing: any image to the pixels that an encoder takes. Nothing random.

`ImagePreprocess` does in one class what the evaluation transforms of transformers, open_clip, timm
and big_vision do; its settings say which. On purpose it differs from them before any resizing: EXIF
orientation is applied; transparent pixels show a background instead of the colours that they hide
(of the four, only transformers 5 does so); 16 bits become 8 by their high byte, where Pillow turns
them white; palettes and CMYK become RGB first, where open_clip resizes them as they are. Pictures
so long that their resized form would take gigabytes are resized around their centre only, which
may round a value the other way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.checks import check_choice, check_whole
from data_pipelines.heap import keep_freed
from data_pipelines.limits import MAX_PIXELS
from data_pipelines.naflex import NaflexPreprocess
from data_pipelines.pixels import (
    ImageLike,
    Preprocess,
    check_colour,
    check_normalisation,
    each,
    rgb_on,
)
from data_pipelines.resize import (
    RESIZES,
    ROUNDINGS,
    centre,
    check_interpolation,
    sampled,
    target,
)

_SAMPLED = "bilinear_tensorflow"
_WHITE = (255, 255, 255)


class ImagePreprocess(Preprocess):
    """Any image to uint8 `[n, size, size, 3]`.

    Args:
      size: side of the output in pixels.
      resize: "squash" both sides to `resize_size`; "shortest" side to it; "longest" side to it.
        Then the centre is cut out, and `fill` is added where it lies beyond the picture.
      interpolation: "bicubic", "bilinear", "lanczos", "nearest", "box" or "hamming", all of Pillow
        and so antialiased; "bicubic_simd" and others of `simd.SIMD`: several times as fast, and
        within one level of Pillow's; or "bilinear_tensorflow": from four pixels only, as
        big_vision's `resize`, whose results are 20 to 35 dB from the antialiased ones.
      background: RGB 0..255 behind transparent pixels.
      mean: per channel, of pixels scaled to 0..1; subtracted on the device, not here.
      std: per channel, likewise; divided by on the device.
      resize_size: pixels; `size` unless given. Larger, and the borders are cut off.
      rounding: where a centre would begin at half a pixel: "down" to the pixel before, as
        transformers; "even" to the nearest even one, as torchvision. Unless given, "even" for
        "longest" and "down" for the others.
      fill: RGB 0..255 of borders; `background` unless given.

    Raises:
      ValueError: an unknown name, a size below 1, a colour out of range, a std of 0.

    References:
      transformers' image_processing_backends.PilBackend; open_clip's transform.image_transform;
      timm's data.transforms_factory.transforms_imagenet_eval; big_vision's pp/ops_image.py.
    """

    kind = "square"

    def __init__(
        self,
        size: int,
        *,
        resize: str = "squash",
        interpolation: str = "bicubic",
        background: Sequence[int] = _WHITE,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        resize_size: int | None = None,
        rounding: str | None = None,
        fill: Sequence[int] | None = None,
    ) -> None:
        self.size = size
        self.resize_size = size if resize_size is None else resize_size
        check_whole("size", size)
        check_whole("resize_size", self.resize_size)
        check_choice("resize", resize, RESIZES)
        check_interpolation(interpolation, _SAMPLED)
        self.resize, self.interpolation = resize, interpolation
        self.rounding = rounding or ("even" if resize == "longest" else "down")
        check_choice("rounding", self.rounding, ROUNDINGS)
        self.background = check_colour("background", background)
        self.fill = check_colour("fill", background if fill is None else fill)
        self.mean, self.std = check_normalisation(mean, std)
        keep_freed()
        if interpolation == _SAMPLED and (resize, self.resize_size) != ("squash", size):
            raise ValueError(
                f"interpolation {_SAMPLED!r} needs resize='squash' to the whole of {size} pixels, "
                f"got {resize!r} to {self.resize_size}; take 'bilinear'"
            )

    def __call__(
        self, images: ImageLike | Iterable[ImageLike], *, max_pixels: int = MAX_PIXELS
    ) -> np.ndarray:
        """Pixels of one image or of several, always with the leading axis.

        Args:
          images: paths, file contents, binary file objects, Pillow images, and uint8 arrays of
            NumPy, JAX or PyTorch: `[h, w]`, `[h, w, c]` or `[c, h, w]` with 1, 3 or 4 channels;
            or one array `[n, h, w, c]` or `[n, c, h, w]`.
          max_pixels: largest accepted `h * w` of a file or a Pillow image.

        Returns:
          uint8 `[n, size, size, 3]`; n is 1 for one image.

        Raises:
          Reject: an image cannot be used.
          ValueError: an array of another type, or of a shape that is no picture or two; no image.
        """
        items = each(images)
        out = np.empty((len(items), self.size, self.size, 3), np.uint8)
        for row, pixels in zip(
            out, rgb_on(items, self.background, max_pixels=max_pixels), strict=True
        ):
            row[:] = self._one(pixels)
        return out

    def resized(self, size: int) -> "ImagePreprocess":
        """The same for another size of output, borders in proportion."""
        between = round(self.resize_size * size / self.size)
        return ImagePreprocess(**(self._settings() | {"size": size, "resize_size": between}))

    @property
    def whole(self) -> "ImagePreprocess":
        """The same of the whole picture, squashed to the output: nothing cut off, no borders."""
        return ImagePreprocess(
            **(self._settings() | {"resize": "squash", "resize_size": self.size})
        )

    @property
    def portable(self) -> "ImagePreprocess":
        """The same as other stacks have it: by Pillow's filter, which SIMD is within a level of."""
        name = self.interpolation.removesuffix("_simd")
        return ImagePreprocess(**(self._settings() | {"interpolation": name}))

    def _one(self, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        shape = target(width, height, size=self.resize_size, resize=self.resize)
        if self.interpolation == _SAMPLED:
            return sampled(pixels, shape)
        return centre(
            pixels,
            shape,
            size=self.size,
            interpolation=self.interpolation,
            rounding=self.rounding,
            fill=self.fill,
        )


_KINDS: dict[str, Callable[[Mapping[str, Any]], "ImagePreprocess | NaflexPreprocess"]] = {
    "square": ImagePreprocess.from_dict,
    "naflex": NaflexPreprocess.from_dict,
}


def open_preprocess(values: Mapping[str, Any]) -> ImagePreprocess | NaflexPreprocess:
    """The preprocessing that a card describes; "square" where it names no kind.

    Raises:
      ValueError: an unknown kind, or values that are not its own.
    """
    kind = values.get("kind", "square")
    check_choice("preprocess.kind", kind, _KINDS)
    try:
        return _KINDS[kind](values)
    except TypeError as error:
        raise ValueError(
            f"preprocess of kind {kind!r} must have its own settings, got {sorted(values)} "
            f"({error}); update vlp if a newer one wrote this card"
        ) from error
