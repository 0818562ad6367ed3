"""What a JPEG says before its image data, and how much work it makes beside its size: its scans."""

import re
from typing import NamedTuple

import numpy as np

from data_pipelines.faults import Reject

# libjpeg goes over the whole picture for each scan, and one of a few bytes is enough: 60 KB can
# take hours. Encoders write about ten, and no more than some dozens even by hand-made scripts.
MOST_SCANS = 100
_SOS, _EOI, _ALONE, _FILL, _APP1 = 0xDA, 0xD9, 0x01, 0xFF, 0xE1
_SEQUENTIAL = (0xC0, 0xC1)  # frames
# What has a length and may stand around a frame: Huffman tables, quantisation, restarts, comment.
_USUAL = frozenset((*_SEQUENTIAL, 0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # no escaped 0xff, filling or restart


class Head(NamedTuple):
    """What stands before the first scan of a JPEG.

    Attributes:
      metadata: contents of the segments that may be EXIF or XMP, in order.
      has_one_scan: whether libjpeg refuses a second one: the picture is not progressive, and its
        first scan has all channels.
    """

    metadata: list[bytes]
    has_one_scan: bool


def head(data: bytes) -> Head:
    """What stands before the first scan, as far as it can be read."""
    metadata: list[bytes] = []
    channels, usual, position = b"", True, 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == _FILL:
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4])
        if marker == _SOS:
            whole = data[position + 4 : position + 5] == channels
            return Head(metadata, usual and whole)
        if length < 2:
            break
        if marker == _APP1:
            metadata.append(data[position + 4 : position + 2 + length])
        elif marker in _SEQUENTIAL:
            channels = data[position + 9 : position + 10]
        usual = usual and marker in _USUAL
        position += 2 + length
    return Head(metadata, False)


def check_scans(data: bytes) -> None:
    """Raises Reject where a JPEG, whatever is appended to it left out, has too many scans."""
    # Nearly all are through here: what looks like a scan may be in a thumbnail or an appended film.
    pairs = np.frombuffer(data, np.uint8)
    if np.count_nonzero((pairs[:-1] == 0xFF) & (pairs[1:] == _SOS)) <= MOST_SCANS:
        return
    position, scans = 2, 0
    while (marker := _MARKER.search(data, position)) and marker[1][0] != _EOI:
        position = marker.end()
        if marker[1][0] == _ALONE:
            continue
        position += int.from_bytes(data[position : position + 2])
        scans += marker[1][0] == _SOS
        if scans > MOST_SCANS:
            raise Reject("image too large", f"a JPEG of more than {MOST_SCANS} scans")
