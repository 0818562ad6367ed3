"""A folder of embeddings, written shard by shard so that a stopped job goes on where it was.

  manifest.json                     the model and the data, by their fingerprints
  images/00000.npy, .parquet        a row an image: `[n, d]`; and id, key, caption, embedding
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
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

FORMAT = 1
MANIFEST = "manifest.json"
KINDS = ("images", "captions")
# What must be the same for a job to go on in a folder.
_FIXED = ("format", "model", "data", "samples", "shard_size", "captions", "dtype", "dim")


class Shards:
    """The shards of one job.

    Args:
        folder: made where it is not there.
        manifest: what the job embeds and how; must hold `samples` and `shard_size`.

    Raises:
        ValueError: the folder holds embeddings of something else.
    """

    def __init__(self, folder: str | os.PathLike, manifest: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.manifest = {"format": FORMAT, **manifest}
        for name in (*KINDS, "done"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        path = self.folder / MANIFEST
        if path.is_file():
            _check_same(read_manifest(self.folder), self.manifest, self.folder)
        else:
            _write_json(path, self.manifest)

    def __len__(self) -> int:
        return -(-self.manifest["samples"] // self.manifest["shard_size"])

    def samples(self, shard: int) -> tuple[int, int]:
        """The first sample of a shard, and the one behind its last."""
        size = self.manifest["shard_size"]
        return shard * size, min((shard + 1) * size, self.manifest["samples"])

    def is_done(self, shard: int) -> bool:
        """Whether a shard is whole."""
        return self._done(shard).is_file()

    def write(
        self,
        shard: int,
        *,
        images: Mapping[str, Any],
        captions: Mapping[str, Any],
        rejected: int,
    ) -> None:
        """Writes a shard; it counts as done only once all of it is there.

        Args:
            shard: its number.
            images, captions: columns of equal length: "embedding" float `[n, d]`, "id", "key" and
                "caption".
            rejected: images that could not be read.
        """
        for kind, columns in (("images", images), ("captions", captions)):
            stem = self.folder / kind / f"{shard:05d}"
            vectors = np.asarray(columns["embedding"], self.manifest["dtype"])
            _write_npy(stem.with_suffix(".npy"), vectors)
            _write_parquet(stem.with_suffix(".parquet"), dict(columns) | {"embedding": vectors})
        counts = {"images": len(images["id"]), "captions": len(captions["id"])}
        _write_json(self._done(shard), counts | {"rejected": rejected})

    def counts(self) -> dict[str, int]:
        """Images, captions and rejected images in the shards that are done."""
        total = {"images": 0, "captions": 0, "rejected": 0}
        for path in sorted((self.folder / "done").glob("*.json")):
            found = json.loads(path.read_text(encoding="utf-8"))
            total = {key: total[key] + found[key] for key in total}
        return total

    def _done(self, shard: int) -> Path:
        return self.folder / "done" / f"{shard:05d}.json"


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


def read_vectors(
    folder: str | os.PathLike, kind: str
) -> Iterator[tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n d"]]]:
    """The ids and vectors of the finished shards, one after the other, without copying them."""
    for path in sorted((Path(folder) / "done").glob("*.json")):
        stem = Path(folder) / kind / path.stem
        ids = pq.read_table(stem.with_suffix(".parquet"), columns=["id"])["id"].to_numpy()
        yield ids, np.load(stem.with_suffix(".npy"), mmap_mode="r")


def read_rows(folder: str | os.PathLike, kind: str, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Key and caption of the rows with these ids, in their order; of captions the first such."""
    manifest = read_manifest(folder)
    rows: list[dict[str, Any]] = []
    for id_ in ids:
        stem = Path(folder) / kind / f"{int(id_) // manifest['shard_size']:05d}"
        table = pq.read_table(
            stem.with_suffix(".parquet"),
            columns=["id", "key", "caption"],
            filters=[("id", "=", int(id_))],
        )
        rows.append(table.slice(0, 1).to_pylist()[0])
    return rows


def _check_same(there: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    for key in _FIXED:
        if there.get(key) != given.get(key):
            raise ValueError(
                f"{folder} holds embeddings with {key} {there.get(key)!r}, and this job has "
                f"{given.get(key)!r}; give another --out, or the same settings to go on"
            )


def _write_npy(path: Path, vectors: np.ndarray) -> None:
    with _partial(path).open("wb") as file:
        np.save(file, vectors)
    os.replace(_partial(path), path)


def _write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    vectors = columns["embedding"]
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    table = pa.table(
        {
            "id": pa.array(np.asarray(columns["id"], np.int64)),
            "key": pa.array(list(columns["key"]), pa.string()),
            "caption": pa.array(list(columns["caption"]), pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )
    pq.write_table(table, _partial(path))
    os.replace(_partial(path), path)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    _partial(path).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(_partial(path), path)


def _partial(path: Path) -> Path:
    """Where a file is written before it gets its name; one for each process."""
    return path.with_name(f".{path.name}.{os.getpid()}")
