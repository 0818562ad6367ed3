"""Files and folders written whole, and errors that say which they are about."""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vlp.remote import Name, Place, is_remote, own_folder, put_folder, remote

PARTIAL = ".partial"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` write a file under another name; a reader sees the old one or the new one whole.

    The folder is made where it is not there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name is drawn: processes in containers may have the same number.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with named(path):
            write(partial)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Name, data: bytes | bytearray) -> None:
    """Writes a file whole, see `write_whole`; also in an object store, which knows no other way."""
    if is_remote(path):
        remote(path).write_bytes(data)
        return
    write_whole(Path(path), lambda partial: partial.write_bytes(data))


def write_text(path: Name, text: str) -> None:
    """Writes UTF-8 text whole, see `write_whole`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Name, value: Any) -> None:
    """Writes JSON whole, indented for people to read as well.

    Raises:
        ValueError: NaN or infinity, which JSON has not; what was there stays.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def remove_partials(folder: Path, *, of: str = "") -> None:
    """Removes what writers that were killed left in a folder, where nobody writes now.

    Args:
        folder: whose files are looked at.
        of: how the names of the files that were to be written begin; any if not given.
    """
    for leftover in folder.glob(f".{of}*{PARTIAL}"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Place, *, last: str = "") -> Iterator[Path]:
    """A folder to fill, which takes the place of `path` only if nothing is raised meanwhile.

    Args:
        path: here, or in an object store.
        last: the file in it that is put up last where it lies in a store.
    """
    if not isinstance(path, Path):
        partial = own_folder()
        yield partial
        put_folder(partial, path, last=last)
        return
    partial = path.with_name(f".{path.name}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)  # of a writer that was killed
    partial.mkdir(parents=True)
    try:
        with named(path):
            yield partial
        _put_in_place(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, path: Path) -> None:
    """Renames `partial` to `path`; what was there is removed only once the new one stands."""
    earlier = path.with_name(f".{path.name}.earlier")
    shutil.rmtree(earlier, ignore_errors=True)
    if path.exists():
        os.rename(path, earlier)
    try:
        os.rename(partial, path)
    except OSError:
        if earlier.exists():
            os.rename(earlier, path)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


@contextlib.contextmanager
def named(path: Name) -> Iterator[None]:
    """Gives an OSError from inside that names no file, as on a full disk, this one."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        if error.errno is None:
            raise OSError(f"{error}: {str(path)!r}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def utf8(name: str) -> str:
    """The name of a file with marks in place of bytes that are not UTF-8, as a text can hold it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
