"""A folder of embeddings, written shard by shard so that a stopped job goes on where it was.

  manifest.json                     the model and the data, by their fingerprints
  images/00000.npy, .parquet        a row an image: `[n, d]`; and id, key, file, caption, embedding
  captions/00000.npy, .parquet      a row a caption, likewise
  done/00000.json                   written last: this shard is whole

A shard holds the samples k * size to (k + 1) * size of the data; ids are indices in the data. The
`.npy` is for `numpy.load(..., mmap_mode="r")`, the parquet has the same vectors beside what a
vector database wants to know of them.
"""

import json
import logging
import operator
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from vlp.files import PARTIAL, write_whole

FORMAT = 1
MANIFEST = "manifest.json"
KINDS = ("images", "captions")
_log = logging.getLogger("vlp")
# What must be the same for a job to go on in a folder.
_FIXED = (
    "format",
    "model",
    "preprocess",
    "tokenizer",
    "data",
    "samples",
    "shard_size",
    "captions",
    "dtype",
    "dim",
)


class Row(NamedTuple):
    """What one row of a shard says."""

    id: int
    key: str
    caption: str
    embedding: Float[np.ndarray, " d"]


class Shards:
    """The shards of one job; nothing is written before `claim`.

    Args:
        folder: new, empty, or with shards of the same job.
        manifest: JSON values that say what is embedded and how; must hold `samples`, `shard_size`
            and `dtype`.
        same: whether a value of the manifest that is there and one of this job's mean the same.

    Raises:
        ValueError: the folder holds embeddings of something else, or other files.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        manifest: Mapping[str, Any],
        *,
        same: Callable[[Any, Any], bool] = operator.eq,
    ) -> None:
        self.folder = Path(folder)
        self.data_table = self.folder / "data.json"
        self.manifest = {"format": FORMAT, **manifest}
        _check_folder(self.folder)
        if (self.folder / MANIFEST).is_file():
            _check_same(read_manifest(self.folder), self.manifest, self.folder, same)

    def claim(self) -> None:
        """Makes the folder this job's; the other processes of a job leave that to the first.

        A shard whose files are no longer all there is not done.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in (".", "done", *KINDS):
            remove_partials(self.folder / folder)
        path = self.folder / MANIFEST
        if not path.is_file():
            _write_json(path, self.manifest)
        for done in _done_files(self.folder):
            if not _is_whole(done):
                _log.warning("%s: files of this shard are gone or cut, it is made anew", done)
                done.unlink()

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
        left_out: int,
    ) -> None:
        """Writes a shard; it counts as done only once all of it is there.

        Args:
            shard: its number.
            images, captions: columns of equal length: "embedding" float `[n, d]`, "id" ascending,
                "key", "file" and "caption".
            rejected: images that could not be read.
            left_out: captions that are missing or could not be used.
        """
        for kind, columns in (("images", images), ("captions", captions)):
            folder = self.folder / kind
            folder.mkdir(exist_ok=True)
            vectors = np.asarray(columns["embedding"], self.manifest["dtype"])
            _write_npy(folder / f"{shard:05d}.npy", vectors)
            _write_parquet(folder / f"{shard:05d}.parquet", columns, vectors)
        counts = {"images": len(images["id"]), "captions": len(captions["id"])}
        done = self._done(shard)
        done.parent.mkdir(exist_ok=True)
        _write_json(done, counts | {"rejected": rejected, "left_out": left_out})

    def counts(self) -> dict[str, int]:
        """Images, captions, and what was left out of both, in the shards that are done."""
        total = Counter(images=0, captions=0, rejected=0, left_out=0)
        for path in _done_files(self.folder):
            total.update(json.loads(path.read_text(encoding="utf-8")))
        return dict(total)

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
    for path in _done_files(Path(folder)):
        table, vectors = _read_shard(Path(folder) / kind / path.stem, ["id"])
        yield table["id"].to_numpy(), vectors


def read_rows(folder: str | os.PathLike, kind: str, ids: Sequence[int]) -> list[Row]:
    """The rows with these ids, in their order; of several captions of a sample the first."""
    size = read_manifest(folder)["shard_size"]
    tables: dict[int, tuple[pa.Table, np.ndarray]] = {}
    rows: list[Row] = []
    for id_ in ids:
        shard = id_ // size
        if shard not in tables:
            stem = Path(folder) / kind / f"{shard:05d}"
            tables[shard] = _read_shard(stem, ["id", "key", "caption"])
        table, vectors = tables[shard]
        place = int(np.searchsorted(table["id"].to_numpy(), id_))
        said = table.slice(place, 1).to_pylist()[0]
        rows.append(Row(**said, embedding=np.asarray(vectors[place], np.float32)))
    return rows


def _read_shard(stem: Path, columns: list[str]) -> tuple[pa.Table, np.ndarray]:
    try:
        table = pq.read_table(stem.with_suffix(".parquet"), columns=columns)
        return table, np.load(stem.with_suffix(".npy"), mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{stem}.npy and .parquet must be as they were written ({error}); start the same vlp "
            "embed again, which makes anew what is gone or cut"
        ) from error


def remove_partials(folder: Path, *, of: str = "") -> None:
    """Removes what writers that were killed left in a folder, where nobody writes now.

    Args:
        folder: whose files are looked at.
        of: the name of the file that was to be written; any if not given.
    """
    for leftover in folder.glob(f".{of}*{PARTIAL}"):
        leftover.unlink(missing_ok=True)


def _check_folder(folder: Path) -> None:
    """Raises ValueError where the folder holds other things than a job's."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out must be a folder, {folder} is a file; give another")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    others = [name for name in names if not name.startswith(".")]  # as locks and leftovers do
    if others and MANIFEST not in others:
        raise ValueError(
            f"--out must be new, empty or the folder of an earlier vlp embed, {folder} holds other "
            f"files, such as {min(others)}; give another folder"
        )


def _check_same(
    there: Mapping[str, Any], given: Mapping[str, Any], folder: Path, same: Callable
) -> None:
    for key in _FIXED:
        if not same(there.get(key), given.get(key)):
            raise ValueError(
                f"{folder} holds embeddings of another {key}, {_brief(there.get(key))}, and this "
                f"job has {_brief(given.get(key))}; give another --out, or what it was to go on"
            )


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _done_files(folder: Path) -> list[Path]:
    return sorted((folder / "done").glob("[0-9]*.json"))


def _is_whole(done: Path) -> bool:
    """Whether the files of a shard are there, with as many rows as it says; they are not read."""
    try:
        counts = json.loads(done.read_text(encoding="utf-8"))
        return all(_rows(done, kind) == {counts[kind]} for kind in KINDS)
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return False


def _rows(done: Path, kind: str) -> set[int]:
    """How many rows the files of a shard have; one number, if all is well."""
    stem = done.parent.parent / kind / done.stem
    vectors = np.load(stem.with_suffix(".npy"), mmap_mode="r")
    return {len(vectors), pq.read_metadata(stem.with_suffix(".parquet")).num_rows}


def _write_npy(path: Path, vectors: np.ndarray) -> None:
    def save(partial: Path) -> None:
        with partial.open("wb") as file:  # given a path, numpy would add .npy to it
            np.save(file, vectors)

    write_whole(path, save)


def _write_parquet(path: Path, columns: Mapping[str, Any], vectors: np.ndarray) -> None:
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    table = pa.table(
        {
            "id": pa.array(np.asarray(columns["id"], np.int64)),
            "key": pa.array([utf8(key) for key in columns["key"]], pa.string()),
            "file": pa.array([utf8(file) for file in columns["file"]], pa.string()),
            "caption": pa.array(list(columns["caption"]), pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )
    write_whole(path, lambda partial: pq.write_table(table, partial))


def utf8(key: str) -> str:
    """A key whose bytes are not UTF-8, with marks in their place: parquet holds nothing else."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
