"""Image-text pairs in WebDataset tars, read by offset: KEY.png, KEY.txt, KEY.json."""

import bisect
import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.faults import Reject
from data_pipelines.sources.base import (
    MAX_IMAGE_BYTES,
    MAX_METADATA_BYTES,
    Sample,
    check_index,
    parse_metadata,
    split_captions,
)
from data_pipelines.sources.tar_index import IMAGE, META, TEXT
from data_pipelines.sources.tar_sidecar import load_index
from data_pipelines.text import MAX_CAPTION_BYTES

# A .txt may hold many captions, each within its own limit.
_MAX_TEXT_BYTES = 16 * MAX_CAPTION_BYTES
# Above this many tars a file is opened for each read: descriptors are limited to about 1,000.
_MAX_OPEN = 256


class TarSource:
    """The samples of one or several tars, one after the other.

    Args:
      paths: the tars, uncompressed. An index beside a tar (`build_index`) saves reading all its
        headers at opening.
      name: what reports call the source; the tars' names unless given.

    Raises:
      ValueError: a tar is damaged, or its index belongs to another tar.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path], *, name: str = "") -> None:
        self.paths = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
        if not self.paths:
            raise ValueError("a TarSource needs at least one tar, got an empty list")
        self.name = name or _joined(self.paths)
        self._shards = [load_index(path) for path in self.paths]
        self._ends = np.cumsum([len(shard) for shard in self._shards]).tolist()
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """Hash of every tar's fingerprint, in order."""
        joined = "".join(shard.fingerprint for shard in self._shards)
        return hashlib.sha256(joined.encode()).hexdigest()

    @property
    def ignored(self) -> int:
        """Files in the tars that belong to no sample."""
        return sum(shard.ignored for shard in self._shards)

    def __len__(self) -> int:
        return self._ends[-1]

    def key(self, index: int) -> str:
        """The sample's key."""
        shard, row = self._locate(index)
        return self._shards[shard].key(row)

    def image(self, index: int) -> bytes:
        """The image file, without the captions."""
        shard, row = self._locate(index)
        return self._member(shard, row, IMAGE, MAX_IMAGE_BYTES)

    def captions(self, index: int) -> tuple[bytes, ...]:
        """The lines of KEY.txt, without reading the image."""
        shard, row = self._locate(index)
        text = self._member(shard, row, TEXT, _MAX_TEXT_BYTES)
        return split_captions(text)

    def meta(self, index: int) -> dict[str, Any]:
        """What KEY.json says; empty where there is none."""
        shard, row = self._locate(index)
        return parse_metadata(self._member(shard, row, META, MAX_METADATA_BYTES))

    def __getitem__(self, index: int) -> Sample:
        shard, row = self._locate(index)
        return Sample(
            key=self._shards[shard].key(row),
            image=self._member(shard, row, IMAGE, MAX_IMAGE_BYTES),
            captions=split_captions(self._member(shard, row, TEXT, _MAX_TEXT_BYTES)),
            meta=parse_metadata(self._member(shard, row, META, MAX_METADATA_BYTES)),
        )

    def _locate(self, index: int) -> tuple[int, int]:
        check_index(index, len(self))
        shard = bisect.bisect_right(self._ends, index)
        return shard, index - (self._ends[shard - 1] if shard else 0)

    def _member(self, shard: int, row: int, role: int, limit: int) -> bytes:
        start, size = self._shards[shard].spans[row, role].tolist()
        if start < 0:
            if role == META:
                return b"{}"
            raise Reject("image missing" if role == IMAGE else "caption missing")
        if size > limit:
            reason = {IMAGE: "image too large", TEXT: "caption too long", META: "metadata invalid"}
            raise Reject(reason[role], f"{size} > {limit} bytes")
        data = self._read(shard, start, size)
        if len(data) != size:
            raise ValueError(
                f"{self.paths[shard]} changed while it was read: {size} bytes at byte {start} "
                f"were expected, got {len(data)}; copy it again and start over"
            )
        return data

    def _read(self, shard: int, start: int, size: int) -> bytes:
        file = self._files.get(shard)
        if file is not None:
            return os.pread(file, size, start)
        file = os.open(self.paths[shard], os.O_RDONLY | os.O_CLOEXEC)
        with self._lock:
            keep = len(self._files) < _MAX_OPEN and shard not in self._files
            if keep:
                self._files[shard] = file
        try:
            return os.pread(file, size, start)
        finally:
            if not keep:
                os.close(file)

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes open the files themselves.
        state = self.__dict__.copy()
        del state["_files"], state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _files={}, _lock=threading.Lock())

    def __del__(self) -> None:
        for file in self.__dict__.get("_files", {}).values():
            os.close(file)


def _joined(paths: Sequence[Path]) -> str:
    if len(paths) == 1:
        return paths[0].stem
    return f"{paths[0].stem}..{paths[-1].stem}"
