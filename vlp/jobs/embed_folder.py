"""A folder of embeddings, written shard by shard; see `vlp.vectors.shards` for what lies where."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlp.files import remove_partials, utf8, write_json, write_whole
from vlp.jobs.outputs import check_folder
from vlp.jobs.parts import Parts
from vlp.vectors.shards import FORMAT, KINDS, MANIFEST, done_files, stem

_log = logging.getLogger("vlp")


class EmbedFolder(Parts):
    """The shards of one job; nothing is written before `claim`.

    Args:
        path: of the folder: new, empty, or with shards of the same job.
        manifest: see `Parts`; must hold `samples`, `shard_size` and `dtype`.

    Raises:
        ValueError: the folder holds embeddings of something else, or other files.
    """

    holds = "holds embeddings of"
    fixed = ("captions", "dtype", "dim", "views")
    size = "shard_size"

    def __init__(self, path: str | Path, manifest: Mapping[str, Any]) -> None:
        path = Path(path)
        check_folder("--out", path, manifest=MANIFEST, ours="of an earlier vlp embed")
        super().__init__(
            path,
            {"format": FORMAT, **manifest},
            manifest_path=path / MANIFEST,
            data_table=path / "data.json",
        )

    def claim(self) -> None:
        """Makes the folder this job's; the other processes of a job leave that to the first.

        A shard whose files are no longer all there is not done.
        """
        super().claim()
        for folder in (".", "done", *KINDS):
            remove_partials(self.path / folder)
        for done in done_files(self.path):
            if not _is_whole(done):
                _log.warning("%s: files of this shard are gone or cut, it is made anew", done)
                done.unlink()

    def is_done(self, part: int) -> bool:
        """Whether a shard is whole."""
        return self._done(part).is_file()

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
            images, captions: columns of equal length: "embedding" float `[n, d]`, "id" ascending
                (of an image once a view, one after the other), "key", "file" and "caption".
            rejected: images that could not be read.
            left_out: captions that are missing or could not be used.
        """
        for kind, columns in (("images", images), ("captions", captions)):
            vectors = np.asarray(columns["embedding"], self.manifest["dtype"])
            _write_npy(stem(self.path, kind, shard).with_suffix(".npy"), vectors)
            _write_parquet(stem(self.path, kind, shard).with_suffix(".parquet"), columns, vectors)
        counts = {"images": len(images["id"]), "captions": len(captions["id"])}
        write_json(self._done(shard), counts | {"rejected": rejected, "left_out": left_out})

    def counts(self) -> dict[str, int]:
        """Images, captions, and what was left out of both, in the shards that are done."""
        total = Counter(images=0, captions=0, rejected=0, left_out=0)
        for path in done_files(self.path):
            total.update(json.loads(path.read_text(encoding="utf-8")))
        return dict(total)

    def _done(self, shard: int) -> Path:
        return stem(self.path, "done", shard).with_suffix(".json")


def _is_whole(done: Path) -> bool:
    """Whether the files of a shard are there, with as many rows as it says; they are not read."""
    try:
        counts = json.loads(done.read_text(encoding="utf-8"))
        for kind in KINDS:
            files = done.parent.parent / kind / done.stem
            vectors = np.load(files.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            table = pq.read_metadata(files.with_suffix(".parquet"))
            if {len(vectors), table.num_rows} != {counts[kind]}:
                return False
        return True
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return False


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
