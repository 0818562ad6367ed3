"""An index over a folder of embeddings: the nearest images without looking at all of them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vlp.files import write_whole
from vlp.vectors.shards import Row, read_manifest, read_rows, read_vectors

FILE = "images.usearch"


def build_index(folder: str | os.PathLike) -> Path:
    """Builds the index of the image embeddings and puts it into their folder.

    It holds the vectors in float16, beside its graph.

    Args:
        folder: of finished shards.

    Raises:
        ValueError: usearch is not installed.

    References:
        Malkov and Yashunin, 2016 (HNSW), https://arxiv.org/abs/1603.09320.
    """
    index = _usearch().Index(ndim=read_manifest(folder)["dim"], metric="cos", dtype="f16")
    for ids, vectors in read_vectors(folder, "images"):
        if len(ids):
            index.add(ids, np.asarray(vectors, np.float32))
    path = Path(folder) / FILE
    write_whole(path, lambda partial: index.save(str(partial)))
    return path


def search_index(
    folder: str | os.PathLike, query: Float[np.ndarray, " d"], *, top: int
) -> tuple[list[Row], Float[np.ndarray, " k"]]:
    """The images nearest to a unit-norm query, best first, and their cosines.

    The index names candidates, more than asked for; the vectors of the shards decide.

    Raises:
        ValueError: the folder has no index or a damaged one, or usearch is not installed.
    """
    index = _open_index(Path(folder) / FILE)
    count = min(2 * top + 16, len(index))
    candidates = index.search(query, count).keys if count else ()  # usearch minds a count of 0
    rows = read_rows(folder, "images", sorted(int(id_) for id_ in candidates))
    scores = np.asarray([row.embedding @ query for row in rows], np.float32)
    best = np.argsort(-scores, kind="stable")[:top]
    return [rows[i] for i in best], scores[best]


def check_usearch() -> None:
    """Raises ValueError where usearch is not installed."""
    _usearch()


def _open_index(path: Path) -> Any:
    index = _usearch()
    if not path.is_file():
        raise ValueError(f"{path} must be there, it is not; run vlp embed ... --index once more")
    try:
        return index.Index.restore(str(path), view=True)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} must be an index of usearch, it is damaged ({error}); run vlp embed ... "
            "--index once more"
        ) from error


def _usearch() -> Any:
    try:
        from usearch import index
    except ImportError as error:
        raise ValueError(f"an index needs usearch ({error}); pip install 'vlp[index]'") from error
    return index
