"""Images of every kind as RGB pixels, and the checks of preprocessings."""

import inspect
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeAlias

import numpy as np
from PIL import Image

from data_pipelines.arrays import as_numpy, channels_last, is_array
from data_pipelines.decode import decode_plain, rgba
from data_pipelines.limits import MAX_PIXELS

# Any: an array of NumPy, JAX, PyTorch or TensorFlow.
ImageLike: TypeAlias = (
    str | os.PathLike | bytes | bytearray | memoryview | BinaryIO | Image.Image | Any
)
_CONTENTS = bytes | bytearray | memoryview
_LONGEST_PATH = 4096  # of Linux, in bytes
_STRIP = 2**18  # pixels blended at once


def each(images: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    """One image, or several, or an array of them, as a list.

    Raises:
      ValueError: an array that is neither, or nothing that holds images.
    """
    if isinstance(images, str | os.PathLike | _CONTENTS | Image.Image) or hasattr(images, "read"):
        return [images]
    if is_array(images):
        array = as_numpy(images)
        if array.ndim == 1 and array.dtype.kind in "OUST":  # of paths, a column of a table
            return list(array)
        array = channels_last(array)
        return list(array) if array.ndim == 4 else [array]
    if isinstance(images, dict) or not isinstance(images, Iterable):
        raise ValueError(_unknown(images))
    return list(images)


def as_pixels(image: ImageLike, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """uint8 RGB `[h, w, 3]` or RGBA `[h, w, 4]`, upright.

    Args:
      image: one.
      max_pixels: largest accepted `h * w` of a file or a Pillow image.

    Raises:
      Reject: the image cannot be used.
      ValueError: an array of another shape or type, or no image at all.
    """
    if isinstance(image, Image.Image):
        return rgba(image, max_pixels=max_pixels)
    if isinstance(image, str) or not is_array(image):
        return decode_plain(_contents(image), max_pixels=max_pixels)
    array = channels_last(as_numpy(image))
    if array.ndim == 4:
        raise ValueError(f"an image of a list must be one, got a batch {list(array.shape)}")
    return array.repeat(3, axis=-1) if array.shape[-1] == 1 else array


def flatten(pixels: np.ndarray, background: Sequence[int]) -> np.ndarray:
    """RGB or RGBA `[h, w, 3 or 4]` over a colour: uint8 `[h, w, 3]`, hidden colours hidden."""
    if pixels.shape[-1] == 3 or pixels[..., 3].min() == 255:
        return np.ascontiguousarray(pixels[..., :3])
    out = np.empty((*pixels.shape[:2], 3), np.uint8)
    behind = np.asarray(background, np.uint32)
    rows = max(1, _STRIP // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        strip = pixels[top : top + rows].astype(np.uint32)
        colours, alpha = strip[..., :3], strip[..., 3:]
        out[top : top + rows] = (colours * alpha + behind * (255 - alpha) + 127) // 255
    return out


def rgb_on(
    images: Iterable[ImageLike], background: Sequence[int], *, max_pixels: int = MAX_PIXELS
) -> Iterator[np.ndarray]:
    """Each image as uint8 RGB `[h, w, 3]` on a background."""
    for index, image in enumerate(images):
        try:
            rgb = flatten(as_pixels(image, max_pixels=max_pixels), background)
        except Exception as error:
            error.add_note(f"image {index} of those handed over")
            raise
        yield rgb


def _contents(image: Any) -> bytes:
    """The bytes of a file, however it is handed over."""
    if isinstance(image, _CONTENTS):
        return bytes(image)
    if hasattr(image, "read"):
        return _read(image)
    if isinstance(image, str):
        _check_path(image)
    if isinstance(image, str | os.PathLike):
        path: Any = image if hasattr(image, "read_bytes") else Path(image)
        return path.read_bytes()
    raise ValueError(_unknown(image))


def _read(file: Any) -> bytes:
    """All of a file object, from its beginning, as Pillow reads one."""
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)
    data = file.read()
    if not isinstance(data, bytes):
        raise ValueError(f"a file must be open in binary mode ('rb'), got {file!r}")
    return data


def _check_path(path: str) -> None:
    shown = repr(path if len(path) < 80 else f"{path[:60]}...")
    if "://" in path or path.startswith("data:"):
        raise ValueError(
            f"a str must be the path of a local file, got the address {shown}; read it (urllib, "
            "fsspec, base64) and hand over the bytes"
        )
    if "\0" in path or "\n" in path or len(path) > _LONGEST_PATH:
        raise ValueError(
            f"a str must be the path of a file, got {shown}, which looks like the contents of one; "
            "hand these over as bytes (of base64: base64.b64decode(x))"
        )


def _unknown(value: Any) -> str:
    return (
        "an image must be a path, the bytes of a file, a binary file object, a Pillow image or an "
        f"array; got {type(value).__name__} {value!r:.60}"
    )


class Preprocess:
    """What the preprocessings of pictures have in common: settings, for a card."""

    kind: str

    def to_dict(self) -> dict[str, Any]:
        """The constructor's arguments, for a card."""
        return {"kind": self.kind, **self._settings()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The preprocessing that `to_dict` described."""
        return cls(**{key: value for key, value in values.items() if key != "kind"})

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in self._settings().items())
        return f"{type(self).__name__}({settings})"

    def _settings(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in own.items()}


def check_colour(name: str, colour: Sequence[int]) -> tuple[int, ...]:
    """The colour as a tuple.

    Raises:
      ValueError: not three values in 0..255.
    """
    if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        raise ValueError(f"{name} must be 3 values in 0..255, got {tuple(colour)}")
    return tuple(int(value) for value in colour)


def check_normalisation(
    mean: Sequence[float], std: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation as tuples.

    Raises:
      ValueError: not three finite values each, or a standard deviation that is not above 0.
    """
    finite = all(map(math.isfinite, (*mean, *std)))
    if len(mean) != 3 or len(std) != 3 or not finite or min(std) <= 0:
        raise ValueError(
            f"mean and std must be 3 finite values each, std above 0; got {mean} and {std}"
        )
    return tuple(float(value) for value in mean), tuple(float(value) for value in std)
