"""Files and folders written whole, here or in an object store."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_pipelines.files import PARTIAL, named, remove_partials, utf8, write_whole
from vlp.remote import Name, Place, is_remote, own_folder, put_folder, remote

__all__ = [
    "PARTIAL",
    "named",
    "remove_partials",
    "utf8",
    "whole_folder",
    "write_bytes",
    "write_json",
    "write_text",
    "write_whole",
]


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
