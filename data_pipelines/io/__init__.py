"""Files by address, on this machine or in a store: opened, listed, read by stretches.

`open_file(address)` has a `size`, a `tag` that changes when the file does, and
`read(start, length)`; `exists` and `listing` answer for both worlds. Nothing here raises anything
else than OSError for what a disk, a network or a store does.
"""

from data_pipelines.io.address import child, exists, is_address, listing, name_of, open_file
from data_pipelines.io.ahead import Ahead
from data_pipelines.io.opened import OpenFiles
from data_pipelines.io.packed import packed_kind
from data_pipelines.io.plain import File
from data_pipelines.io.retries import FileChanged

__all__ = [
    "Ahead",
    "File",
    "FileChanged",
    "OpenFiles",
    "child",
    "exists",
    "is_address",
    "listing",
    "name_of",
    "open_file",
    "packed_kind",
]
