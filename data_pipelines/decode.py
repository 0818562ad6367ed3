"""Image files to pixels, with a reason for each file that has none.

Every image becomes uint8 RGBA `[h, w, 4]` with straight alpha (255 where the file has none). What
is done on the way: EXIF orientation is applied; an animation gives its first frame; 16 bits become
8 by keeping the high byte (Pillow's own conversion saturates to white); CMYK and palettes are
converted. 32-bit integer and float images have no known range and are rejected. Colour profiles
are not applied.

JPEG goes through simplejpeg (libjpeg-turbo with the exact inverse DCT and smooth upsampling, as
Pillow decodes), everything else and the JPEGs that it refuses through Pillow.
"""

import io
from collections.abc import Callable

import numpy as np
import simplejpeg
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from data_pipelines.exif import orientation, turn
from data_pipelines.faults import Reject

# 8192 x 8192: at most 256 MiB of pixels. Below Pillow's own limit, which only warns.
MAX_PIXELS = 2**26
_JPEG = b"\xff\xd8"
_DIRECT = frozenset(("L", "LA", "RGB", "RGBA", "P", "PA", "1", "CMYK", "YCbCr", "La", "RGBa"))
_SIXTEEN_BIT = frozenset(("I;16", "I;16L", "I;16B", "I;16N"))


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of an encoded image, uint8 RGBA `[h, w, 4]`.

    Args:
      data: a PNG, JPEG, WebP, GIF, BMP or TIFF file, recognised by its content.
      max_pixels: largest accepted `h * w`; read from the header, before anything is decoded.

    Raises:
      Reject: empty, not recognised, too large, truncated, damaged, or of a mode without a known
        range.
    """
    if not data:
        raise Reject("image empty")
    pixels = _decode_jpeg(data, max_pixels) if data.startswith(_JPEG) else None
    return _decode_pillow(data, max_pixels) if pixels is None else pixels


def _decode_jpeg(data: bytes, max_pixels: int) -> np.ndarray | None:
    """Pixels, or None where Pillow has to decide: CMYK, and whatever is not quite regular."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if space in ("CMYK", "YCCK"):
            return None
        _check_size(width, height, max_pixels)
        pixels = simplejpeg.decode_jpeg(data, "RGBA", fastdct=False, fastupsample=False)
    except Reject:
        raise
    except ValueError:
        return None
    return turn(pixels, orientation(data))


def _decode_pillow(data: bytes, max_pixels: int) -> np.ndarray:
    opener = _opener(data)
    # Pillow's readers raise whatever a damaged file leads them to (OSError, SyntaxError,
    # ValueError, struct.error, ...), so only what is surely not the file's fault passes.
    try:
        image = opener(io.BytesIO(data))
        _check_size(*image.size, max_pixels)
        image.load()
        turned = 1 if image.format == "TIFF" else orientation(image.info.get("exif", b""))
        return turn(rgba(image), turned)
    except (Reject, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise Reject("image too large", str(error)) from error
    except Exception as error:
        cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
        raise Reject(
            "image truncated" if cut else "image damaged", f"{type(error).__name__}: {error}"
        ) from error


def rgba(image: Image.Image) -> np.ndarray:
    """The pixels of a Pillow image, uint8 RGBA `[h, w, 4]`.

    Raises:
      Reject: a mode whose range is not known (32-bit integer, float) or that has no conversion.
    """
    if image.mode in _SIXTEEN_BIT:
        high = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.stack([high, high, high, np.full_like(high, 255)], axis=-1)
    if image.mode not in _DIRECT:
        raise Reject("image mode unsupported", image.mode)
    if image.mode == "CMYK":
        image = image.convert("RGB")
    return np.asarray(image if image.mode == "RGBA" else image.convert("RGBA"))


def _opener(data: bytes) -> Callable[[io.BytesIO], Image.Image]:
    """Pillow's reader for a file. The readers are called themselves, for `Image.open` tries about
    forty formats (some start other programs) and warns about size before we can look at it."""
    if data.startswith(_JPEG):
        return JpegImagePlugin.JpegImageFile
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        if len(data) < 8 + int.from_bytes(data[4:8], "little"):
            raise Reject("image truncated", "the file is shorter than its RIFF header says")
        return WebPImagePlugin.WebPImageFile
    if data.startswith((b"GIF87a", b"GIF89a")):
        return GifImagePlugin.GifImageFile
    if data.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile
    if data.startswith((b"II*\0", b"MM\0*")):
        return TiffImagePlugin.TiffImageFile
    raise Reject("image not recognised", f"it begins with {data[:12]!r}")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Reject("image too large", f"{width} x {height} > {max_pixels} pixels")
