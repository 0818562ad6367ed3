"""The list of a checkpoint's files with their sizes and checksums, and comparing files with it."""

import concurrent.futures
import hashlib
import json
from collections.abc import Collection, Iterable
from typing import Any

from etils import epath

from vlp.remote import names_in

NAME = "manifest.json"
# Orbax writes the marker after the manifest, and stamps the time of the commit into the metadata.
COMMITTED = "commit_success.txt"
TEMPORARY = ".orbax-checkpoint-tmp"  # in the names of folders that orbax has yet to rename
_CHANGES_LATER = ("_CHECKPOINT_METADATA", COMMITTED, NAME)
_SUMS = "sums-{}.json"  # what one process wrote, until the manifest says it
_THREADS = 4
_BLOCK = 2**22


def write_sums(folder: epath.Path, *, process: int) -> None:
    """Leaves the checksums of the arrays that one process of several wrote, for `write`."""
    names = [name for name in _file_names(folder) if f"ocdbt.process_{process}" in name.split("/")]
    sums = {_renamed(name): found for name, found in _sums(folder, names).items()}
    (folder / _SUMS.format(process)).write_text(json.dumps(sums))


def write(folder: epath.Path, *, processes: int) -> None:
    """Adds the manifest to a folder whose files are all written.

    Args:
        folder: of a checkpoint before its commit.
        processes: how many wrote it; what they left by `write_sums` is not read again.
    """
    files: dict[str, Any] = {}
    for path in [folder / _SUMS.format(i) for i in range(processes if processes > 1 else 0)]:
        files |= json.loads(path.read_text())
        path.unlink()
    left = [n for n in _file_names(folder) if n not in files and n not in _CHANGES_LATER]
    files |= _sums(folder, left)
    text = json.dumps({"format": 1, "files": files}, indent=0, sort_keys=True)
    whole = json.dumps({"sha256": _sha256(text.encode()), "manifest": text})
    (folder / NAME).write_text(whole)


def is_committed(folder: epath.Path) -> bool:
    """Whether a checkpoint was committed here, damaged since or not."""
    return not {NAME, COMMITTED}.isdisjoint(names_in(folder))


def problem(
    folder: epath.Path, *, but: Collection[str] = (), process: int = 0, processes: int = 1
) -> str | None:
    """What is wrong with a checkpoint's files, or None when all are as they were written.

    Args:
        folder: of a checkpoint.
        but: folders in it that are not looked at.
        process: which share of the files is looked at here.
        processes: how many look at a share each.
    """
    there = names_in(folder)
    for name in (NAME, COMMITTED):
        if name not in there:
            return f"{name} is missing"
    try:
        files = _listed(folder)
    except (ValueError, KeyError, TypeError) as error:
        changed = str(error) if type(error) is ValueError else type(error).__name__
        return f"{NAME} cannot be read ({changed})"
    looked_at = [name for name in files if name.split("/")[0] not in but]
    # Every so manieth of them by size: shares of about as many bytes.
    names = sorted(looked_at, key=lambda name: (files[name][0], name))[process::processes]
    for name in names:
        try:
            length = (folder / name).stat().length
        except (FileNotFoundError, NotADirectoryError):
            return f"{name} is missing"
        if length != files[name][0]:
            return f"{name} has {length} bytes instead of {files[name][0]}"
    for name, found in _sums(folder, names).items():
        if found != files[name]:
            return f"{name} has changed"
    return None


def folders(folder: epath.Path) -> set[str]:
    """The folders of a checkpoint whose manifest is as it was written."""
    return {name.split("/")[0] for name in _listed(folder) if "/" in name}


def _listed(folder: epath.Path) -> dict[str, list[Any]]:
    """Size and SHA-256 by file, as they were written."""
    outer = json.loads((folder / NAME).read_text())
    if outer["sha256"] != _sha256(outer["manifest"].encode()):
        raise ValueError("it has changed")
    return json.loads(outer["manifest"])["files"]


def _renamed(name: str) -> str:
    """The name of a file once the folder it lies in has its own."""
    top, slash, rest = name.partition("/")
    return top.partition(TEMPORARY)[0] + slash + rest


def _file_names(folder: epath.Path) -> list[str]:
    names: list[str] = []
    for path in folder.iterdir():
        below = (
            [f"{path.name}/{name}" for name in _file_names(path)] if path.is_dir() else [path.name]
        )
        names += below
    return sorted(names)


def _sums(folder: epath.Path, names: Iterable[str]) -> dict[str, list[Any]]:
    """Size and SHA-256 by file."""
    names = list(names)
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        found = threads.map(lambda name: _fingerprint(folder / name), names)
        return dict(zip(names, found, strict=True))


def _fingerprint(path: epath.Path) -> list[Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return [size, digest.hexdigest()]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
