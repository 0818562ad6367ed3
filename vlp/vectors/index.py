"""An index over a folder of embeddings: the nearest images without looking at all of them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vlp.vectors.shards import read_manifest, read_vectors

FILE = "images.usearch"


def build_index(
    folder: str | os.PathLike, *, progress: Callable[[int], None] | None = None
) -> Path:
    """Builds the index of the image embeddings and puts it into their folder.

    Args:
        folder: of finished shards.
        progress: called with the number of vectors added so far.

    Raises:
        ValueError: usearch is not installed.

    References:
        Malkov and Yashunin, 2016 (HNSW), https://arxiv.org/abs/1603.09320.
    """
    index = _usearch().Index(ndim=read_manifest(folder)["dim"], metric="cos", dtype="f16")
    for ids, vectors in read_vectors(folder, "images"):
        if len(ids):
            index.add(ids, np.asarray(vectors, np.float32))
        if progress is not None:
            progress(len(index))
    path = Path(folder) / FILE
    partial = path.with_name(f".{FILE}.{os.getpid()}")
    index.save(str(partial))
    os.replace(partial, path)
    return path


def search_index(
    folder: str | os.PathLike, query: Any, *, top: int
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Ids of the images nearest to a unit-norm query `[d]`, best first, and their cosines.

    Raises:
        ValueError: the folder has no index, or usearch is not installed.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise ValueError(f"{folder} must hold {FILE}, it does not; run vlp embed ... --index")
    index = _usearch().Index.restore(str(path), view=True)
    found = index.search(np.asarray(query, np.float32), min(top, len(index)))
    return np.asarray(found.keys, np.int64), 1 - np.asarray(found.distances, np.float32)


def check_usearch() -> None:
    """Raises ValueError where usearch is not installed."""
    _usearch()


def _usearch() -> Any:
    try:
        from usearch import index
    except ImportError as error:
        raise ValueError(f"an index needs usearch ({error}); pip install 'vlp[index]'") from error
    return index
