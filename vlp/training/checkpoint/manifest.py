"""The list of a checkpoint's files with their sizes and checksums, and comparing files with it."""

import concurrent.futures
import hashlib
import json
from typing import Any

from etils import epath

NAME = "manifest.json"
# Orbax writes the marker after the manifest, and stamps the time of the commit into the metadata.
COMMITTED = "commit_success.txt"
_CHANGES_LATER = ("_CHECKPOINT_METADATA", COMMITTED, NAME)
_THREADS = 4
_BLOCK = 2**22


def write(folder: epath.Path) -> None:
    """Adds the manifest to a folder whose files are all written."""
    names = [name for name in _file_names(folder) if name not in _CHANGES_LATER]
    files = dict(zip(names, _each(folder, names, _fingerprint), strict=True))
    text = json.dumps({"format": 1, "files": files}, indent=0, sort_keys=True)
    partial = folder / (NAME + ".partial")
    partial.write_text(json.dumps({"sha256": _sha256(text.encode()), "manifest": text}))
    partial.rename(folder / NAME)


def is_committed(folder: epath.Path) -> bool:
    """Whether a checkpoint was committed here, damaged since or not."""
    return (folder / NAME).exists() or (folder / COMMITTED).exists()


def problem(folder: epath.Path) -> str | None:
    """What is wrong with a checkpoint's files, or None when all are as they were written."""
    for name in (NAME, COMMITTED):
        if not (folder / name).exists():
            return f"{name} is missing"
    try:
        outer = json.loads((folder / NAME).read_text())
        if outer["sha256"] != _sha256(outer["manifest"].encode()):
            return f"{NAME} has changed"
        files: dict[str, list[Any]] = json.loads(outer["manifest"])["files"]
    except (ValueError, KeyError, TypeError) as error:
        return f"{NAME} cannot be read ({type(error).__name__})"
    for name, (size, _) in files.items():
        if not (folder / name).exists():
            return f"{name} is missing"
        if (folder / name).stat().length != size:
            return f"{name} has {(folder / name).stat().length} bytes instead of {size}"
    for name, found in zip(files, _each(folder, list(files), _fingerprint), strict=True):
        if found != files[name]:
            return f"{name} has changed"
    return None


def _file_names(folder: epath.Path) -> list[str]:
    names: list[str] = []
    for path in folder.iterdir():
        below = (
            [f"{path.name}/{name}" for name in _file_names(path)] if path.is_dir() else [path.name]
        )
        names += below
    return sorted(names)


def _each(folder: epath.Path, names: list[str], function: Any) -> list[Any]:
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(lambda name: function(folder / name), names))


def _fingerprint(path: epath.Path) -> list[Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return [size, digest.hexdigest()]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
