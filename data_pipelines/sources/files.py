"""Files of a folder: which there are, and what is read of one."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.faults import Reject
from data_pipelines.io.retries import with_retries
from data_pipelines.sources.fingerprints import TAIL, TEXT_BYTES, Fingerprint
from data_pipelines.sources.members import MISSING, TOO_LARGE, UNUSABLE
from data_pipelines.sources.survey import Strays


class _NoFile(OSError):
    """What is there is a folder, a pipe or a device."""


_MISSING = (FileNotFoundError, NotADirectoryError, _NoFile)


def walk(folder: Path, strays: Strays) -> list[str]:
    """The files below a folder by their paths in it, sorted; links are followed.

    Args:
      folder: where they lie.
      strays: counts what is passed over: hidden files and folders, and what is no file.

    Raises:
      OSError: the folder, or one in it, cannot be read.
    """
    return sorted(_below(str(folder), "", strays, ()))


def _below(
    folder: str, prefix: str, strays: Strays, above: tuple[tuple[int, int], ...]
) -> Iterator[str]:
    status = os.stat(folder)
    place = (status.st_dev, status.st_ino)
    if place in above:
        strays.add("a link to a folder that it lies in", prefix)
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = prefix + entry.name
            if entry.name.startswith("."):
                strays.add("hidden", name)
            elif entry.is_dir():
                yield from _below(entry.path, f"{name}/", strays, (*above, place))
            elif entry.is_file():
                yield name
            else:
                strays.add("no file, or a link to nothing", name)


def read_file(path: Path, role: str, *, limit: int) -> bytes:
    """A file's bytes, tried again where the disk fails.

    Args:
      path: the file.
      role: what it is to its sample.
      limit: its largest size; a larger one is not read.

    Raises:
      Reject: it is missing, or no file; it cannot be read now; or it is too large.
    """

    def once() -> bytes:
        with _opened(path) as (file, size):
            if size > limit:
                raise Reject(TOO_LARGE.get(role, UNUSABLE), f"{size} > {limit} bytes")
            return os.pread(file, size, 0)

    try:
        return with_retries(once)
    except OSError as error:
        missing = isinstance(error, _MISSING)
        reason = MISSING.get(role, UNUSABLE) if missing else "read failed"
        raise Reject(reason, f"{path}: {error.strerror}") from error


def hash_file(found: Fingerprint, path: Path, name: str, *, text: bool) -> None:
    """Adds a file, a picture or a text, to a fingerprint; also one that is not there, or forbidden.

    Raises:
      ValueError: a disk does not give it now; once it can the fingerprint would be another.
    """

    def once() -> None:
        with _opened(path) as (file, size):
            found.add(
                name,
                lambda start, length: os.pread(file, length, start),
                size,
                text=text,
                tail=TEXT_BYTES if text else TAIL,
            )

    try:
        with_retries(once)
    except (*_MISSING, PermissionError):  # whoever may not read it reads other data
        found.add_missing(name)
    except OSError as error:
        raise ValueError(
            f"{path} must be read to know which data these are, but: {error.strerror or error}; "
            "try again, or leave it out"
        ) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """A file's descriptor and size. Raises OSError, also where it is no plain file."""
    # O_NONBLOCK: opening a pipe must not wait for a writer.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise _NoFile(errno.EINVAL, "is not a file", str(path))
        yield file, status.st_size
    finally:
        os.close(file)
