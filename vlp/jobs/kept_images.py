"""Embedded images that are kept, so that a second search embeds nothing but its words.

They lie in `search/` in the folder of a run, or in `galleries/` of the cache for weights of other
stacks and for runs that cannot be written to: a file a model and data set, named by a hash of both.
A folder holds `MAX_BYTES` at most; what was not searched for the longest time goes first.
"""

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.caches import cache_folder
from vlp.files import write_whole
from vlp.version import __version__

MAX_BYTES = 2 * 2**30


class Kept(NamedTuple):
    """Embedded images: unit-norm rows, and the sample of each."""

    zimg: np.ndarray
    ids: np.ndarray


def name_of(*, model: str, preprocess: Mapping[str, Any], data: str) -> str:
    """What the embeddings of these data by this model are called.

    Args:
        model, data: fingerprints.
        preprocess: settings of what the images went through.
    """
    parts = [__version__, model, preprocess, data]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32] + ".npz"


def find(name: str, folder: Path | None) -> Kept | None:
    """What is kept under a name; None where there is nothing, or nothing that is whole.

    Args:
        name: see `name_of`.
        folder: of the run, or None.
    """
    for place in _places(folder):
        try:
            with (place / name).open("rb") as file, np.load(file, allow_pickle=False) as found:
                kept = Kept(found["zimg"], found["ids"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            continue
        with contextlib.suppress(OSError):  # somebody else's: it is read all the same
            os.utime(place / name)
        return kept
    return None


def keep(name: str, images: Kept, folder: Path | None) -> Path | None:
    """Keeps embedded images where a later search finds them.

    Args:
        name: see `name_of`.
        images: what is kept.
        folder: of the run, or None.

    Returns:
        The file; None where they are too large, or no place can be written to.
    """
    if images.zimg.nbytes > MAX_BYTES:
        return None
    for place in _places(folder):
        try:
            write_whole(place / name, lambda path: _save(path, images))
        except OSError:
            continue
        _remove_oldest(place)
        return place / name
    return None


def _places(folder: Path | None) -> list[Path]:
    own = [] if folder is None else [folder / "search"]
    return [*own, cache_folder("galleries")]


def _save(path: Path, images: Kept) -> None:
    with path.open("wb") as file:  # given a path, numpy would add .npz to it
        np.savez(file, **images._asdict())


def _remove_oldest(folder: Path) -> None:
    files = [(path.stat(), path) for path in folder.glob("*.npz")]
    total = 0
    for status, path in sorted(files, key=lambda file: -file[0].st_mtime):
        total += status.st_size
        if total > MAX_BYTES:
            path.unlink(missing_ok=True)
