"""The orientation that a camera or an editor wrote into an image, and how to undo it.

The rule is Pillow's `ImageOps.exif_transpose`: a whole number from 1 to 8 under EXIF's tag 0x0112,
in whatever kind of integer it was written; where EXIF says nothing, `tiff:Orientation` of the XMP.
Files are read here rather than by Pillow because JPEGs do not pass through Pillow, and because a
damaged EXIF block must neither warn nor cost the image: it says what stands before the damage.

References: CIPA DC-008 (Exif 2.32), section 4.6.4, tag 0x0112; the TIFF 6.0 layout of a directory.
"""

import contextlib
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines.quiet import quietly

_ORIENTATION = 0x0112
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
# SHORT, as the standard wants it, and what else is written: LONG, SBYTE, SSHORT, SLONG, IFD.
_INTEGERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
_HEADERS = re.compile(rb"(?:Exif\0\0)*+")
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_INVERSE = {6: 8, 8: 6}


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """1 to 8; 1, upright, where nothing else is said.

    Args:
      exif: an EXIF block, with or without its "Exif" header.
      xmp: the XMP packet beside it.
    """
    said = _in_exif(exif)
    if said is None and (match := _IN_XMP.search(xmp)):
        said = int(match[1])
    return said if said is not None and 1 <= said <= 8 else 1


def info_orientation(info: Mapping[Any, Any]) -> int:
    """`orientation` of what Pillow's reader of a file found in it.

    Args:
      info: of the loaded image; TIFF turns itself while it is loaded, so not of a TIFF.
    """
    exif = info.get("exif", b"")
    if not exif and (profile := info.get("Raw profile type exif")):  # ImageMagick's, in a PNG
        with contextlib.suppress(ValueError):
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
    return orientation(exif, info.get("xmp", b""))


def jpeg_orientation(metadata: Iterable[bytes]) -> int:
    """`orientation` of a JPEG file.

    Args:
      metadata: see `jpeg.Head`.
    """
    exif, xmp = bytearray(), b""
    for segment in metadata:
        if segment.startswith(_EXIF):
            exif += segment.removeprefix(_EXIF)  # a long block goes on in the next segment
        elif segment.startswith(_XMP):
            xmp = segment.removeprefix(_XMP)
    return orientation(bytes(exif), xmp)


def image_orientation(image: Image.Image) -> int:
    """What `ImageOps.exif_transpose` would undo in a Pillow image; 1 once that was done."""
    try:
        with quietly():
            said = image.getexif().get(_ORIENTATION)
    except Exception:  # as many kinds of it as there are ways to damage a block
        return 1
    return said if isinstance(said, int) and said in range(1, 9) else 1


def turn(pixels: np.ndarray, value: int) -> np.ndarray:
    """The upright view of `[h, w, ...]` pixels stored with an orientation."""
    if value >= 5:
        pixels = pixels.swapaxes(0, 1)
    # After the transpose: 2 and 6 mirror left-right, 4 and 8 top-bottom, 3 and 7 both.
    if value in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if value in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def turn_back(pixels: np.ndarray, value: int) -> np.ndarray:
    """The view of upright `[h, w, ...]` pixels that `turn` would make upright."""
    return turn(pixels, _INVERSE.get(value, value))


def _in_exif(block: bytes) -> int | None:
    """The tag's value as it is written, 0 if as no integer; None where there is no tag."""
    headers = _HEADERS.match(block)
    block = block[headers.end() :] if headers else block
    order = _ORDERS.get(block[:4])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, directory)
        for place in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, count, value = struct.unpack_from(f"{order}HHI4s", block, place)
            if tag == _ORIENTATION:
                integer = count == 1 and kind in _INTEGERS
                return struct.unpack_from(order + _INTEGERS[kind], value)[0] if integer else 0
    except struct.error:
        pass
    return None
