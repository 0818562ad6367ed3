"""The orientation that a camera wrote into an image, and how to undo it.

Read here rather than by Pillow because JPEGs do not pass through Pillow, and because a damaged EXIF
block must neither warn nor cost the image: it counts as no orientation.

References: CIPA DC-008 (Exif 2.32), section 4.6.4, tag 0x0112; the TIFF 6.0 layout of a directory.
"""

import struct

import numpy as np

_ORIENTATION = 0x0112
_SHORT = 3
_HEADER = b"Exif\0\0"


def orientation(data: bytes) -> int:
    """1 to 8; 1, upright, where nothing else is said.

    Args:
      data: a JPEG file, or an EXIF block.
    """
    block = _jpeg_block(data) if data.startswith(b"\xff\xd8") else data
    block = block.removeprefix(_HEADER)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, directory)
        for entry in range(entries):
            place = directory + 2 + 12 * entry
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, place)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def turn(pixels: np.ndarray, value: int) -> np.ndarray:
    """The upright image of `[h, w, ...]` pixels stored with an orientation."""
    if value == 1:
        return pixels
    if value >= 5:
        pixels = pixels.swapaxes(0, 1)
    # After the transpose: 2 and 6 mirror left-right, 4 and 8 top-bottom, 3 and 7 both.
    if value in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if value in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _jpeg_block(data: bytes) -> bytes:
    """The EXIF segment of a JPEG, empty if there is none before the image data."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4])
        if marker == 0xDA or length < 2:  # start of scan
            break
        if marker == 0xE1 and data.startswith(_HEADER, position + 4):
            return data[position + 4 : position + 2 + length]
        position += 2 + length
    return b""
