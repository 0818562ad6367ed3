"""Addresses: paths of this machine, and what lies in a store, such as `s3://bucket/a.tar`."""

import errno
import glob
import importlib.util
import os
import re
from pathlib import Path
from typing import Any

from data_pipelines.io.packed import PackedTar, packed_kind
from data_pipelines.io.plain import File, LocalFile
from data_pipelines.io.remote import RemoteFile, answered, store_of
from data_pipelines.io.retries import is_final

# What reaches each kind of store, and the extra that brings it.
SCHEMES = {
    "gs": ("gcsfs", "gcs"),
    "s3": ("s3fs", "s3"),
    "http": ("aiohttp", "http"),
    "https": ("aiohttp", "http"),
}
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NOT_THERE = (404, 410)
_MAGIC = re.compile(r"[*?\[]")


def is_address(path: str | Path) -> bool:
    """Whether this is the address of something in a store, and not a path of this machine."""
    return _ADDRESS.match(os.fspath(path)) is not None


def checked(address: str) -> str:
    """The address of a store that can be reached from here.

    Raises:
      ValueError: nobody knows such stores, or what reaches them is not installed.
    """
    found = _ADDRESS.match(address)
    scheme = found[1] if found else ""
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValueError(
            f"data lie on this machine or at {known}, got {address!r}; copy or mount them"
        )
    package, extra = SCHEMES[scheme]
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"{address} needs {package}, which is not installed; pip install 'vlp[{extra}]'"
        )
    return address


def open_file(address: str | Path) -> File:
    """A file to be read by stretches, wherever it lies; of a compressed tar what it holds.

    Args:
      address: a path, or the address of a store.

    Raises:
      OSError: it is not there, or cannot be reached.
      ValueError: see `checked`; or what bounds a cache is no number, see `disk_cache.bound`.
    """
    name = os.fspath(address)
    file: File = RemoteFile(checked(name)) if is_address(name) else LocalFile(name)
    kind = packed_kind(name)
    return PackedTar(file, kind) if kind else file


def exists(address: str | Path) -> bool:
    """Whether something is there.

    Raises:
      OSError: nobody answers.
      PermissionError: who asks may not know.
      ValueError: see `checked`.
    """
    if not is_address(address):
        return os.path.exists(address)
    store, path = store_of(checked(os.fspath(address)))
    if os.fspath(address).startswith("http"):
        return answered(lambda: _served(store, path))
    return bool(answered(lambda: store.exists(path)))


def _served(store: Any, path: str) -> bool:
    """Whether a web server has something; what it fails to say is no answer."""
    try:
        store.info(path)
    except FileNotFoundError as error:
        cause = error.__cause__
        status = getattr(cause, "status", 404)
        if status in _NOT_THERE:
            return False
        said = f"the server answers {status}"
        if isinstance(cause, Exception) and is_final(cause):
            raise PermissionError(errno.EACCES, said, path) from error
        raise OSError(errno.EIO, said, path) from error
    return True


def listing(pattern: str) -> list[str]:
    """The files that a pattern names (`*`, `?`, `[...]`, `**`), sorted; in a folder, all of them.

    Raises:
      OSError: nobody answers.
      ValueError: see `checked`.
    """
    if not is_address(pattern):
        found = glob.glob(pattern if _MAGIC.search(pattern) else f"{pattern}/*", recursive=True)
        return sorted(path for path in found if os.path.isfile(path))
    store, path = store_of(checked(pattern))
    names: list[str] = answered(lambda: _names(store, path))
    return sorted(name if is_address(name) else store.unstrip_protocol(name) for name in names)


def _names(store: Any, path: str) -> list[str]:
    if _MAGIC.search(path):
        return [name for name in store.glob(path) if not name.endswith("/")]
    entries = store.ls(path, detail=True)
    return [entry["name"] for entry in entries if entry["type"] == "file"]


def name_of(address: str | Path) -> str:
    """The name of a file within its folder."""
    return os.fspath(address).partition("?")[0].rpartition("/")[2]


def child(folder: str | Path, name: str) -> str:
    """The address of a file in a folder."""
    text = os.fspath(folder)
    return f"{text.rstrip('/')}/{name}" if is_address(text) else os.path.join(text, name)
