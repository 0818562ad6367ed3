"""The vectors of a folder of embeddings by sample: those of a picture, those of a caption."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from vlp.vectors.shards import done_files, read_manifest, read_shard, stem


class StoredVectors:
    """A whole folder of embeddings; its matrices stay on the disk, ids and captions are kept.

    Args:
        folder: of `vlp embed`.

    Attributes:
        folder: the same.
        manifest: what it says of model and data.
        dim: of the vectors.

    Raises:
        ValueError: it is none, or not finished.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder, self.manifest = Path(folder), read_manifest(folder)
        self.dim: int = self.manifest["dim"]
        self._shards: dict[tuple[str, int], tuple[Any, Any, Any]] = {}
        done, parts = len(done_files(folder)), -(-self.manifest["samples"] // self._size)
        if done < parts:
            raise ValueError(
                f"{folder} must be finished, {done} of {parts} shards are there; start the same "
                "vlp embed again"
            )

    def image(self, index: int, view: int = 0) -> Float[np.ndarray, " d"] | None:
        """The vector of a picture; None where it could not be read.

        Args:
            index: of the sample in the data that were embedded.
            view: which of its augmentations, where there are several.
        """
        ids, _, vectors = self._shard("images", index)
        place = int(np.searchsorted(ids, index))
        there = place < len(ids) and ids[place] == index
        return np.asarray(vectors[place + view], np.float32) if there else None

    def caption(self, index: int, caption: str) -> Float[np.ndarray, " d"] | None:
        """The vector of a caption of a sample, by its cleaned text; None where there is none."""
        ids, captions, vectors = self._shard("captions", index)
        first, stop = np.searchsorted(ids, (index, index + 1)).tolist()
        for place in range(first, stop):
            if captions[place].as_py() == caption:
                return np.asarray(vectors[place], np.float32)
        return None

    @property
    def _size(self) -> int:
        return self.manifest["shard_size"]

    def _shard(
        self, kind: str, index: int
    ) -> tuple[Int[np.ndarray, " n"], pa.ChunkedArray, Float[np.ndarray, "n d"]]:
        """Ids, captions and vectors of the shard of a sample."""
        shard = index // self._size
        if (kind, shard) not in self._shards:
            table, vectors = read_shard(stem(self.folder, kind, shard), ["id", "caption"])
            ids, captions = table["id"].to_numpy(), table["caption"]
            self._shards[kind, shard] = ids, captions, vectors
        return self._shards[kind, shard]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": {}}  # worker processes read for themselves
