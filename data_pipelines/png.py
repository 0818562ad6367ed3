"""A PNG without what does not make its pixels."""

import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# Not critical, so that a wrong checksum drops them, as it does in libpng.
_OPTIONAL = (b"tRNS", b"eXIf")


def bare_png(data: bytes) -> bytes:
    """The file with its pixels, transparency and EXIF alone, and of an animation the still picture.

    Pillow refuses a whole picture because of a large colour profile, a long text or a checksum of
    something that it does not use.
    """
    return _SIGNATURE + b"".join(
        chunk for chunk in _chunks(data) if chunk[4:8] in _PIXELS or _is_sound_option(chunk)
    )


def _chunks(data: bytes) -> Iterator[bytes]:
    """Length, kind, content and checksum of each chunk; the last one may be cut off."""
    position = len(_SIGNATURE)
    while position < len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4])
        yield data[position:end]
        position = end


def _is_sound_option(chunk: bytes) -> bool:
    return chunk[4:8] in _OPTIONAL and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
