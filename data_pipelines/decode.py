"""Image files to pixels, with a reason for each file that has none.

Every image becomes uint8 RGBA `[h, w, 4]` with straight alpha (255 where the file has none). What
is done on the way: EXIF orientation is applied; an animation gives its first frame; 16 bits become
8 by keeping the high byte (Pillow's own conversion saturates to white); CMYK and palettes are
converted. 32-bit integer and float images have no known range and are rejected. Colour profiles
are not applied.

JPEG goes through simplejpeg (libjpeg-turbo with the exact inverse DCT and smooth upsampling, as
Pillow decodes), everything else and the JPEGs that it refuses through Pillow.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import AvifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from data_pipelines.exif import (
    image_orientation,
    info_orientation,
    jpeg_orientation,
    turn,
    turn_back,
)
from data_pipelines.faults import Reject
from data_pipelines.jpeg import check_scans, head
from data_pipelines.kinds import JPEG, reader
from data_pipelines.limits import MAX_PIXELS
from data_pipelines.png import bare_png
from data_pipelines.quiet import quietly

_DIRECT = frozenset(("L", "LA", "RGB", "RGBA", "P", "PA", "1", "YCbCr", "RGBa"))
_BY_WAY_OF = {"CMYK": "RGB", "HSV": "RGB", "RGBX": "RGB", "La": "LA"}
_SIXTEEN_BIT = frozenset(("I;16", "I;16L", "I;16B", "I;16N"))
# Whose readers look at metadata, and warn.
WARNING = (
    AvifImagePlugin.AvifImageFile,
    JpegImagePlugin.JpegImageFile,
    TiffImagePlugin.TiffImageFile,
)
_STRIP = 2**18  # pixels converted at once, so that a large picture is not held three times


class JpegHeader(NamedTuple):
    """What a JPEG is before it is decoded.

    Attributes:
      height, width: as it is shown, in pixels.
      orientation: how it is stored, see `exif`.
    """

    height: int
    width: int
    orientation: int


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of an encoded image, uint8 RGBA `[h, w, 4]`.

    Args:
      data: a JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF or JPEG 2000 file, recognised by its content.
      max_pixels: largest accepted `h * w`; read from the header, before anything is decoded.

    Raises:
      Reject: empty, not recognised, too large, truncated, damaged, or of a mode without a known
        range.
    """
    if not data:
        raise Reject("image empty")
    pixels = _decode_jpeg(data, max_pixels) if data.startswith(JPEG) else None
    return _decode_pillow(data, max_pixels) if pixels is None else pixels


def decode_plain(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """`decode`, of a JPEG without the opacity that it cannot have: uint8 `[h, w, 3 or 4]`.

    Args:
      data, max_pixels: as in `decode`.

    Raises:
      Reject: as `decode`.
    """
    header = jpeg_header(data, max_pixels=max_pixels)
    if header is not None:
        pixels = jpeg_rgb(data, orientation=header.orientation)
        if pixels is not None:
            return pixels
    return decode(data, max_pixels=max_pixels)


def jpeg_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> JpegHeader | None:
    """The header of a JPEG; None where `decode` has to decide.

    Args:
      data, max_pixels: as in `decode`.

    Raises:
      Reject: too large, of too many scans, or without a pixel.
    """
    if not data.startswith(JPEG):
        return None
    before = head(data)
    if not before.has_one_scan:
        check_scans(data)
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if space in ("CMYK", "YCCK"):
        return None
    check_size(width, height, max_pixels)
    value = jpeg_orientation(before.metadata)
    return JpegHeader(*((height, width) if value < 5 else (width, height)), value)


def jpeg_rgb(
    data: bytes, *, orientation: int, at_least: tuple[int, int] | None = None
) -> np.ndarray | None:
    """The pixels of a JPEG that has a header, uint8 RGB `[h, w, 3]`; None where it is damaged.

    Args:
      data: of the file.
      orientation: of its header.
      at_least: height and width that are enough. The inverse cosine transform then makes but the
        fewest eighths of the pixels that are as many, from the lowest frequencies; else all.
    """
    height, width = (at_least or (0, 0))[:: 1 if orientation < 5 else -1]
    how = dict(fastdct=False, fastupsample=False, min_height=height, min_width=width)
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", **how)
    except ValueError:
        return None
    return np.ascontiguousarray(turn(pixels, orientation))


def rgba(image: Image.Image, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of a Pillow image, upright, uint8 RGBA `[h, w, 4]`.

    Args:
      image: of any mode; its EXIF orientation is applied where `ImageOps.exif_transpose` would.
      max_pixels: largest accepted `h * w`.

    Raises:
      Reject: too large; what its file has; a mode whose range is not known (32-bit integer,
        float) or that has no conversion.
    """
    with reasons():
        _load(image, max_pixels)
        return _upright(image, image_orientation(image))


def _decode_jpeg(data: bytes, max_pixels: int) -> np.ndarray | None:
    """Pixels, or None where Pillow has to decide: CMYK, and whatever is not quite regular."""
    header = jpeg_header(data, max_pixels=max_pixels)
    if header is None:
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGBA", fastdct=False, fastupsample=False)
    except ValueError:
        return None
    return np.ascontiguousarray(turn(pixels, header.orientation))


def _decode_pillow(data: bytes, max_pixels: int) -> np.ndarray:
    opener = reader(data)
    if opener is PngImagePlugin.PngImageFile:
        return _decode_png(data, max_pixels)
    with reasons():
        with quietly() if opener in WARNING else contextlib.nullcontext():
            image = opener(io.BytesIO(data))
            if opener is TiffImagePlugin.TiffImageFile:  # turns itself, and may warn
                _load(image, max_pixels)
                return _upright(image, 1)
        _load(image, max_pixels)
        return _upright(image, info_orientation(image.info))


def _decode_png(data: bytes, max_pixels: int) -> np.ndarray:
    """As it is, and if that fails, what makes its pixels alone."""
    try:
        return _read_png(data, max_pixels)
    except Reject as error:
        if error.reason == "image too large":
            raise
        return _read_png(bare_png(data), max_pixels)


def _read_png(data: bytes, max_pixels: int) -> np.ndarray:
    animated = b"acTL" in data  # Pillow warns about odd ones
    with reasons(), quietly() if animated else contextlib.nullcontext():
        image = PngImagePlugin.PngImageFile(io.BytesIO(data))
        _load(image, max_pixels)
        return _upright(image, info_orientation(image.info))


def _load(image: Image.Image, max_pixels: int) -> None:
    check_size(*image.size, max_pixels)
    image.load()


@contextlib.contextmanager
def reasons() -> Iterator[None]:
    """Whatever goes wrong inside is told as a Reject with its reason.

    Pillow's readers raise whatever a damaged file leads them to (OSError, SyntaxError, ValueError,
    struct.error, ...), so only what is surely not the file's fault passes.
    """
    try:
        yield
    except (Reject, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise Reject("image too large", str(error)) from error
    except Exception as error:
        raise Reject(_reason(error), f"{type(error).__name__}: {error}") from error


def _reason(error: Exception) -> str:
    said = str(error).lower()
    if "cannot handle" in said:  # a JPEG of 12 bits, or of two channels
        return "image mode unsupported"
    cut = isinstance(error, EOFError) or "truncated" in said
    return "image truncated" if cut else "image damaged"


def _upright(image: Image.Image, value: int) -> np.ndarray:
    """The pixels of a loaded image that is stored with an orientation, RGBA `[h, w, 4]`."""
    if image.mode not in _DIRECT | _BY_WAY_OF.keys() | _SIXTEEN_BIT:
        raise Reject("image mode unsupported", image.mode)
    width, height = image.size
    out = np.empty((height, width, 4) if value < 5 else (width, height, 4), np.uint8)
    stored = turn_back(out, value)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(height, top + rows)))
        stored[top : top + rows] = _converted(strip)
    return out


def _converted(image: Image.Image) -> np.ndarray:
    if image.mode in _SIXTEEN_BIT:
        grey = (np.asarray(image) >> 8).astype(np.uint8)[..., None]
        opaque = np.full_like(grey, 255)
        return np.concatenate([grey, grey, grey, opaque], axis=-1)
    if image.mode in _BY_WAY_OF:
        image = image.convert(_BY_WAY_OF[image.mode])
    return np.asarray(image.convert("RGBA"))


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises Reject for a picture without a pixel, or with more than so many."""
    if not width * height:
        raise Reject("image empty", f"{width} x {height} pixels")
    if width * height > max_pixels:
        raise Reject("image too large", f"{width} x {height} > {max_pixels} pixels")
