"""Pictures as the benchmarks' own programs decode them: Pillow's `convert("RGB")` and nothing else.

Transparent pixels show the colours that they hide, EXIF rotation is not applied, 16 bits become
white from 256 on. `decode.decode` does better; numbers that are to be compared with published ones
are of pictures read like those.
"""

import contextlib
import io
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image, TiffImagePlugin

from data_pipelines.decode import WARNING, check_size, jpeg_header, reasons
from data_pipelines.exif import image_orientation
from data_pipelines.faults import Reject
from data_pipelines.kinds import reader
from data_pipelines.limits import MAX_PIXELS
from data_pipelines.quiet import quietly

ODD = TRANSPARENT, TURNED, DEEP = "transparent", "turned by EXIF", "of 16 bits"


class Read(NamedTuple):
    """A picture, decoded.

    Attributes:
      pixels: uint8 RGB `[h, w, 3]`.
      odd: what `decode` does otherwise with it; "" where both agree.
    """

    pixels: np.ndarray
    odd: str


def pillow_rgb(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Read:
    """The pixels of an encoded image by Pillow's own conversion to RGB.

    Args:
      data: of the file.
      max_pixels: largest accepted `h * w`; read from the header.

    Raises:
      Reject: empty, not recognised, too large, truncated or damaged.
    """
    if not data:
        raise Reject("image empty")
    header = jpeg_header(data, max_pixels=max_pixels)
    if header is not None:
        try:  # the library that Pillow uses, in less time
            pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
            return Read(pixels, TURNED if header.orientation > 1 else "")
        except ValueError:
            pass  # Pillow has to decide
    opener = reader(data)
    # Only where Pillow may warn: there is one lock for that, and most files here are WebP.
    warns = opener in WARNING or b"acTL" in data
    with reasons(), quietly() if warns else contextlib.nullcontext():
        image = opener(io.BytesIO(data))
        check_size(*image.size, max_pixels)
        image.load()
        with quietly() if image.mode == "P" and not warns else contextlib.nullcontext():
            pixels = np.array(image.convert("RGB"))
    return Read(pixels, _odd(image))


def _odd(image: Image.Image) -> str:
    if image.has_transparency_data:
        return TRANSPARENT
    if image.mode.startswith("I") or image.mode == "F":
        return DEEP
    turns_itself = isinstance(image, TiffImagePlugin.TiffImageFile)
    return TURNED if not turns_itself and image_orientation(image) > 1 else ""
