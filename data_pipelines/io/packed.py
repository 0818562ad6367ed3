"""Compressed tars: unpacked one by one while they are read, into a folder of bounded size.

No place of a compressed file can be reached but by way of all before it. So a tar is unpacked when
something of it is asked for, once for all processes of a machine, and stays until others need its
place. An order that goes shard by shard (`order.Blocks`) unpacks each a few times an epoch.
"""

import contextlib
import fcntl
import hashlib
import io
import logging
import lzma
import os
import re
import threading
from pathlib import Path
from typing import Any

from data_pipelines.caches import cache_folder
from data_pipelines.files import write_whole
from data_pipelines.io.disk_cache import bound, sweep
from data_pipelines.io.plain import File
from data_pipelines.io.stream import Stream

_LOG = logging.getLogger(__name__)
_ENDING = re.compile(r"\.(?:t|tar\.)(gz|bz2?|xz|zst|lz4)$", re.IGNORECASE)
_XZ = "xz"
_CODECS = {"gz": "gzip", "bz": "bz2", "bz2": "bz2", "zst": "zstd", "lz4": "lz4", _XZ: _XZ}
_CHUNK = 2**20
# Pictures hardly shrink. What becomes this many times as large is no data but a bomb.
_MOST_TIMES, _LEAST_ROOM = 100, 64 * 2**20
# After so many unpackings it is judged whether so few readings each are worth them.
_JUDGED_AT, _FEW_READINGS = 64, 100


def packed_kind(address: str) -> str | None:
    """How a tar is compressed, by the ending of its name; None for what is no such tar."""
    found = _ENDING.search(os.fspath(address).partition("?")[0])
    return _CODECS[found[1].lower()] if found else None


class PackedTar:
    """What a compressed tar holds. See `File`; size and tag are those of the compressed file.

    `$VLP_CACHE/unpacked` holds up to `VLP_UNPACKED_GB` (16) of such tars; what was used longest ago
    goes first. Of a tar that is damaged there is what comes before the damage.

    Args:
      file: the compressed one; closed with this.
      kind: see `packed_kind`.

    Raises:
      ValueError: `VLP_UNPACKED_GB` is no number.
    """

    def __init__(self, file: File, kind: str) -> None:
        self.address, self.size, self.tag = file.address, file.size, file.tag
        self._file, self._kind = file, kind
        self._most = bound("VLP_UNPACKED_GB")
        identity = "\0".join((file.address, str(file.size), file.tag))
        name = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
        self._path = cache_folder("unpacked") / name[:2] / name

    @property
    def length(self) -> int:
        """Bytes that it holds, unpacked."""
        with self._unpacked() as file:
            return os.fstat(file.fileno()).st_size

    def read(self, start: int, length: int) -> bytes:
        """The bytes of a stretch of the tar; fewer where it ends before."""
        _JUDGE.read()
        with self._unpacked() as file:
            file.seek(start)
            return file.read(length)

    def close(self) -> None:
        """Closes the compressed file; what was unpacked stays for others."""
        self._file.close()

    def _unpacked(self) -> Any:
        """The tar, opened; unpacked where it is not there, or not any more."""
        while True:
            with contextlib.suppress(FileNotFoundError):
                file = self._path.open("rb")
                os.utime(self._path)  # used now
                return file
            self._unpack()

    def _unpack(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f".{self._path.name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one of all threads and processes
            if not self._path.exists():
                _JUDGE.unpacked(self.address)
                write_whole(self._path, self._write)
        sweep(self._path.parent.parent, self._most)

    def _write(self, path: Path) -> None:
        room = max(_LEAST_ROOM, _MOST_TIMES * self.size)
        said = ""
        with path.open("wb") as out:
            try:
                stream = _opened(self._file, self._kind)
                while chunk := stream.read(_CHUNK):
                    out.write(chunk)
                    if out.tell() > room:
                        said = f"it becomes {_MOST_TIMES} times as large"
                        break
            except Exception as error:
                # What reads raises errors of its own kinds, which are no damage.
                if type(error) is not OSError and not isinstance(error, lzma.LZMAError | EOFError):
                    raise
                if getattr(error, "errno", None) is not None:
                    raise
                said = str(error)
        if said:
            _LOG.warning("%s is damaged, what comes before is used: %s", self.address, said)


def _opened(file: File, kind: str) -> Any:
    stream = Stream(file)
    if kind == _XZ:
        return lzma.open(io.BufferedReader(stream, _CHUNK))
    import pyarrow as pa  # takes long to import, and few tars are packed

    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), kind)


class _Judge:
    """Says once that the order of reading unpacks tars again and again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unpacked = self._read = 0
        self._said = False

    def read(self) -> None:
        """A stretch was read."""
        with self._lock:
            self._read += 1

    def unpacked(self, address: str) -> None:
        """A tar was unpacked."""
        with self._lock:
            self._unpacked += 1
            if self._unpacked < _JUDGED_AT:
                return
            few, self._unpacked, self._read = self._read // _JUDGED_AT, 0, 0
            if self._said or few >= _FEW_READINGS:
                return
            self._said = True
        _LOG.warning(
            "compressed tars such as %s are unpacked for %d readings each: let the order go by "
            'shards (config.data.shuffle="blocks"), give them more room (VLP_UNPACKED_GB), or '
            "unpack them for good",
            address,
            few,
        )


_JUDGE = _Judge()
