"""Paths in object stores, gs:// and s3://: what they need, and files carried there and back.

Stores are reached through etils.epath over fsspec, as orbax reaches them: gcsfs and s3fs, which the
extras bring, find credentials and endpoints where the stores' own tools do.
"""

import atexit
import importlib.util
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TypeAlias

from etils import epath

# The package that reaches a store, and the extra that brings it.
STORES = {"gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3")}
Name = str | os.PathLike[str]
Place: TypeAlias = Path | epath.Path  # where both will do
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_BLOCK = 2**22
_log = logging.getLogger("vlp")


def is_remote(path: Name) -> bool:
    """Whether a path lies in an object store, and not in this machine's file systems."""
    return _SCHEME.match(os.fspath(path)) is not None


def remote(path: Name) -> epath.Path:
    """A path in an object store, where the store is known and what reaches it is installed.

    Raises:
        ValueError: it is not.
    """
    text = os.fspath(path)
    scheme, found, inside = text.partition("://")
    if not found or scheme not in STORES:
        known = " or ".join(f"{name}://" for name in STORES)
        raise ValueError(
            f"a path must be of this machine's file systems, or begin with {known}, got {text}; "
            "mount that store as a folder"
        )
    bucket, _, key = inside.partition("/")
    if not (bucket and key.strip("/")):
        raise ValueError(f"a path in a store must be {scheme}://BUCKET/FOLDER, got {text}")
    package, extra = STORES[scheme]
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"{text} needs {package}, which is not installed; pip install 'vlp[{extra}]'"
        )
    import fsspec.config

    # Else epath goes by TensorFlow where that is installed, which knows no S3 and other settings.
    os.environ.setdefault("EPATH_USE_TF", "0")
    # What TensorStore and other processes write is in no listing that was kept.
    for protocol in {scheme, extra}:
        fsspec.config.conf.setdefault(protocol, {})["use_listings_cache"] = False
    return epath.Path(text)


def reached(path: Name) -> epath.Path:
    """As `remote`, once the store has answered.

    Raises:
        ValueError: as there, or the store does not answer, or lets nobody in.
    """
    found = remote(path)
    try:
        names_in(found)
    except Exception as error:  # of two libraries, and of those that they are built on
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{path} must be reached from here: {type(error).__name__}: {reason}; check the "
            "bucket's name, the credentials and the network"
        ) from error
    return found


def place(path: Name) -> Place:
    """A path to work with, here or in a store."""
    return remote(path) if is_remote(path) else Path(path)


def names_in(folder: Place) -> list[str]:
    """What lies in a folder, here or in a store; nothing where there is none.

    A store that does not answer raises, where `exists` says of some stores that nothing is there.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []


def put(file: Path, target: epath.Path) -> None:
    """Puts a file up in place of what is there; a reader sees the old one or the new one whole."""
    with file.open("rb") as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, _BLOCK)


def get(source: epath.Path, file: Path) -> None:
    """Fetches a file; the folder is made where it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as origin, file.open("wb") as sink:
        shutil.copyfileobj(origin, sink, _BLOCK)


def put_folder(folder: Path, target: epath.Path, *, last: str) -> None:
    """Puts a folder up in place of what is there; the file `last` says that all of it is."""
    if names_in(target):
        (target / last).unlink(missing_ok=True)
        target.rmtree()
    files = [path for path in folder.rglob("*") if path.is_file()]
    for file in sorted(files, key=lambda file: file == folder / last):
        put(file, target / file.relative_to(folder).as_posix())


def resolved(path: Name) -> Place:
    """As `place`, of a folder here without links and from the root on."""
    return remote(path) if is_remote(path) else Path(path).resolve()


def fetched(path: epath.Path) -> Path:
    """A copy here of a file or folder in a store, kept until this process ends."""
    copy = own_folder() / path.name
    _log.info("fetching %s", path)
    for inside in _files_in(path):
        get(path / inside, copy / inside)
    return copy


def own_folder() -> Path:
    """A folder for this process alone, removed when it ends."""
    folder = tempfile.mkdtemp(prefix="vlp-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def move(folder: epath.Path, target: epath.Path) -> None:
    """Moves a folder within a store file by file, for there is none that it could rename."""
    for inside in _files_in(folder):
        (folder / inside).copy(target / inside)
    folder.rmtree()


def _files_in(path: epath.Path) -> list[str]:
    """The files of a folder, as paths in it; of a file "", which is itself."""
    import fsspec  # only where there is something to do

    store, root = fsspec.core.url_to_fs(os.fspath(path))
    return [file.removeprefix(root).lstrip("/") for file in store.find(root)]
