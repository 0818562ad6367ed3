"""Blocks of remote files on a disk here, where `VLP_BLOCK_CACHE` names a folder for them.

`VLP_BLOCK_CACHE_GB` (16) bounds it: what was used longest ago goes first. The processes of a
machine share it.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_LOG = logging.getLogger(__name__)
_FOLDER, _BOUND = "VLP_BLOCK_CACHE", "VLP_BLOCK_CACHE_GB"
_GB = 10**9
_SWEPT_EVERY = 64  # writes of this process between two looks at the size of the folder
_written = 0
_failing: dict[str, str] = {}  # folders in which a block could not be kept, and why


def check() -> None:
    """Raises ValueError where the folder is to be bounded by what is no number."""
    if os.environ.get(_FOLDER):
        bound(_BOUND)


def kept(file: tuple[str, str], number: int, fetch: Callable[[int], bytes]) -> bytes:
    """A block: from the folder, or fetched and put there."""
    place = os.environ.get(_FOLDER)
    if not place or not file[1]:  # without a tag nobody knows when a block is of an older file
        return fetch(number)
    name = hashlib.sha256("\0".join((*file, str(number))).encode()).hexdigest()
    path = Path(place) / name[:2] / name
    try:
        data = path.read_bytes()
        os.utime(path)
        return _without_sum(data)
    except (OSError, ValueError):
        data = fetch(number)
    try:
        _put(path, hashlib.sha256(data).digest() + data)
        _sweep_now_and_then(Path(place))
    except OSError as error:  # a full disk costs the cache, not the run
        _say_failing(place, error)
    return data


def bound(variable: str) -> float:
    """Bytes that a folder may hold, by an environment variable in GB; 16 unless it says so.

    Raises:
      ValueError: it is no number of at least 0.
    """
    said = os.environ.get(variable) or "16"
    with contextlib.suppress(ValueError):
        if float(said) >= 0:
            return float(said) * _GB
    raise ValueError(f"{variable} must be a number of GB of at least 0, such as 16, got {said!r}")


def sweep(folder: Path, most: float) -> None:
    """Removes what was used longest ago until nine tenths of so many bytes are left.

    Files lie one folder below; the one that was used last stays.
    """
    found = []
    for path in folder.glob("*/*"):
        with contextlib.suppress(OSError):  # another process was first
            status = path.stat()
            if not path.name.startswith(".") or status.st_mtime < time.time() - 3600:
                found.append((status.st_mtime, status.st_size, path))
    size = sum(each[1] for each in found)
    for _, count, path in sorted(found)[:-1] if size > most else ():
        if size <= 0.9 * most:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        size -= count


def _without_sum(data: bytes) -> bytes:
    """The block without its checksum. Raises ValueError where it is another's."""
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        raise ValueError("a block must be what its checksum says; it is fetched again")
    return data[32:]


def _say_failing(place: str, error: OSError) -> None:
    said = str(error)
    if _failing.setdefault(place, said) is said:  # the first of several threads
        _LOG.warning(
            "a block of a remote file cannot be kept in %s, and is fetched each time, as others "
            "may be (%s); make room, or let %s name another folder",
            place,
            said,
            _FOLDER,
        )


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".block-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _sweep_now_and_then(folder: Path) -> None:
    global _written
    _written += 1
    if _written % _SWEPT_EVERY == 0:
        sweep(folder, bound(_BOUND))
