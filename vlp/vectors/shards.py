"""A folder of embeddings, as `vlp embed` writes it shard by shard.

  manifest.json                     the model and the data, by their fingerprints
  images/00000.npy, .parquet        a row an image: `[n, d]`; and id, key, file, caption, embedding
  captions/00000.npy, .parquet      a row a caption, likewise
  done/00000.json                   written last: this shard is whole

A shard holds the samples k * size to (k + 1) * size of the data; ids are indices in the data. The
`.npy` is for `numpy.load(..., mmap_mode="r")`, the parquet has the same vectors beside what a
vector database wants to know of them.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

FORMAT = 1
MANIFEST = "manifest.json"
KINDS = ("images", "captions")


class Row(NamedTuple):
    """What one row of a shard says."""

    id: int
    key: str
    caption: str
    embedding: Float[np.ndarray, " d"]


def read_manifest(folder: str | os.PathLike) -> dict[str, Any]:
    """The manifest of a folder of embeddings.

    Raises:
        ValueError: it is none.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"a folder of embeddings must hold {MANIFEST}, {folder} does not ({error}); "
            "give the --out of `vlp embed`"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path} must have format {FORMAT}; embed the data again")
    return manifest


def check_plain(manifest: Mapping[str, Any], folder: str | os.PathLike) -> None:
    """Raises ValueError where the vectors of a folder are of augmentations (vlp embed --views)."""
    if manifest.get("views"):
        raise ValueError(
            f"{folder} must have the vectors of pictures as they are, it has those of a training's "
            "augmentations; run vlp embed without --views"
        )


def read_vectors(
    folder: str | os.PathLike, kind: str
) -> Iterator[tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n d"]]]:
    """The ids and vectors of the finished shards, one after the other, without copying them."""
    for path in done_files(folder):
        table, vectors = read_shard(Path(folder) / kind / path.stem, ["id"])
        yield table["id"].to_numpy(), vectors


def read_captions(folder: str | os.PathLike) -> tuple[list[str], Float[np.ndarray, "n d"]]:
    """The captions of the finished shards with their vectors, float32."""
    texts: list[str] = []
    parts: list[np.ndarray] = []
    for path in done_files(folder):
        table, vectors = read_shard(Path(folder) / "captions" / path.stem, ["caption"])
        texts += table["caption"].to_pylist()
        parts.append(np.asarray(vectors, np.float32))
    return texts, np.concatenate(parts)


def read_rows(folder: str | os.PathLike, kind: str, ids: Sequence[int]) -> list[Row]:
    """The rows with these ids, in their order; of several captions of a sample the first."""
    size = read_manifest(folder)["shard_size"]
    tables: dict[int, tuple[pa.Table, np.ndarray]] = {}
    rows: list[Row] = []
    for id_ in ids:
        shard = id_ // size
        if shard not in tables:
            tables[shard] = read_shard(stem(folder, kind, shard), ["id", "key", "caption"])
        table, vectors = tables[shard]
        place = int(np.searchsorted(table["id"].to_numpy(), id_))
        said = table.slice(place, 1).to_pylist()[0]
        rows.append(Row(**said, embedding=np.asarray(vectors[place], np.float32)))
    return rows


def stem(folder: str | os.PathLike, kind: str, shard: int) -> Path:
    """The files of a shard, without their suffix."""
    return Path(folder) / kind / f"{shard:05d}"


def done_files(folder: str | os.PathLike) -> list[Path]:
    """The files that say which shards are whole, in the order of the shards."""
    return sorted((Path(folder) / "done").glob("[0-9]*.json"))


def read_shard(files: Path, columns: list[str]) -> tuple[pa.Table, np.ndarray]:
    """Columns of a shard, and its vectors as they lie on the disk.

    Args:
        files: of `stem`.
        columns: of the parquet.

    Raises:
        ValueError: the files are cut or gone.
    """
    try:
        table = pq.read_table(files.with_suffix(".parquet"), columns=columns)
        return table, np.load(files.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{files}.npy and .parquet must be as they were written ({error}); start the same vlp "
            "embed again, which makes anew what is gone or cut"
        ) from error
