"""How much work a JPEG makes beside its size: its scans."""

import re

import numpy as np

from data_pipelines.faults import Reject

# libjpeg goes over the whole picture for each scan, and one of a few bytes is enough: 60 KB can
# take hours. Encoders write about ten, and no more than some dozens even by hand-made scripts.
MOST_SCANS = 100
_SOS, _EOI, _ALONE = 0xDA, 0xD9, 0x01
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # no escaped 0xff, filling or restart


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
