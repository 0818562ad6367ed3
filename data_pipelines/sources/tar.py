"""Image-text pairs in WebDataset tars, read by offset.

KEY.jpg (or another picture), KEY.txt (one caption, whatever its lines), KEY.captions (several, one
a line), KEY.json (an object) and KEY.cls (a label); see `members.ROLES`. JSON is read only where it
is asked for.
"""

import bisect
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.faults import shown
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.base import check_index
from data_pipelines.sources.by_member import ByMember
from data_pipelines.sources.fingerprints import joined
from data_pipelines.sources.members import AUDIO, IMAGE, LINES, TEXT
from data_pipelines.sources.survey import Strays, Survey
from data_pipelines.sources.tar_index import BLOCK, TarIndex
from data_pipelines.sources.tar_sidecar import load_indexes

# Above this many tars a file is opened for each read: descriptors are limited to about 1,000.
_MAX_OPEN = 256
_ONE_AT_A_TIME = threading.Lock()


class TarSource(ByMember):
    """The samples of one or several tars, one after the other.

    Args:
      paths: the tars, uncompressed. An index beside a tar (`build_index`) saves reading all its
        headers at opening.
      name: what reports call the source; the tars' names unless given.
      by_line: whether KEY.txt, too, holds a caption a line.
      limits: how large the parts of a sample may be.

    Raises:
      ValueError: a tar is damaged, or its index belongs to another tar.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        name: str = "",
        by_line: bool = False,
        limits: Limits = LIMITS,
    ) -> None:
        self.paths = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
        if not self.paths:
            raise ValueError("a TarSource needs at least one tar, got an empty list")
        first, last = self.paths[0].stem, self.paths[-1].stem
        self.name = name or (first if len(self.paths) == 1 else f"{first}..{last}")
        super().__init__(by_line=by_line, limits=limits)
        self._shards = load_indexes(self.paths)
        self._ends = np.cumsum([len(shard) for shard in self._shards]).tolist()
        self._files: dict[int, int] = {}

    @property
    def fingerprint(self) -> str:
        """Hash of every tar's fingerprint, in order, and of how captions are told apart."""
        parts = "".join(shard.fingerprint for shard in self._shards)
        return joined("lines:" * self.by_line + parts) + self.limits.mark

    def __len__(self) -> int:
        return self._ends[-1]

    def survey(self) -> tuple[Survey, ...]:
        """What the tars hold beside pairs, all tars together."""
        strays = Strays()
        for where, shard in self._places():
            for stray in shard.strays:
                strays.add(stray.reason, where + stray.example, count=stray.count)
        images, no_image = self._lacking(IMAGE)
        captions, no_caption = self._lacking(TEXT, LINES)
        sounds, _ = self._lacking(AUDIO)
        found = Survey(
            self.name,
            len(self),
            without_image=images,
            without_caption=captions,
            without_audio=sounds if sounds < len(self) else None,
            strays=strays.by_count(),
            image_example=no_image,
            caption_example=no_caption,
        )
        return (found,)

    def _places(self) -> Iterator[tuple[str, TarIndex]]:
        """Each tar's index, with what its members are called by where there are several tars."""
        for path, shard in zip(self.paths, self._shards, strict=True):
            yield f"{path.name}: " if len(self.paths) > 1 else "", shard

    def _lacking(self, *roles: str) -> tuple[int, str]:
        """How many samples have no member of these roles, and the name of the first."""
        count, example = 0, ""
        for where, shard in self._places():
            rows = shard.lacking(*roles)
            if len(rows) and not count:
                example = shown(where + shard.key(int(rows[0])))
            count += len(rows)
        return count, example

    def key(self, index: int) -> str:
        """The sample's key."""
        shard, row = self._locate(index)
        return self._shards[shard].key(row)

    def file(self, index: int) -> str:
        """The path of the sample's tar."""
        return str(self.paths[self._locate(index)[0]])

    def _locate(self, index: int) -> tuple[int, int]:
        check_index(index, len(self))
        shard = bisect.bisect_right(self._ends, index)
        return shard, index - (self._ends[shard - 1] if shard else 0)

    def _member(self, index: int, role: str) -> bytes | None:
        shard, row = self._locate(index)
        span = self._shards[shard].span(row, role)
        if span is None:
            return None
        start, size, header = span
        self._check_size(role, size)
        found, data = self._read(shard, start, size)
        if zlib.crc32(found) != header or len(data) != size:
            raise ValueError(
                f"{self.paths[shard]} changed while it was read: the member with {size} bytes at "
                f"byte {start} is not there any more; start over, and let nobody write it meanwhile"
            )
        return data

    def _read(self, shard: int, start: int, size: int) -> tuple[bytes, bytes]:
        """A member's header and content."""
        file = self._files.get(shard)
        if file is not None:
            return _header_and_content(file, start, size)
        file = os.open(self.paths[shard], os.O_RDONLY | os.O_CLOEXEC)
        with _ONE_AT_A_TIME:
            keep = len(self._files) < _MAX_OPEN and shard not in self._files
            if keep:
                self._files[shard] = file
        try:
            return _header_and_content(file, start, size)
        finally:
            if not keep:
                os.close(file)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}  # worker processes open the files themselves

    def __del__(self) -> None:
        for file in self.__dict__.get("_files", {}).values():
            os.close(file)


def _header_and_content(file: int, start: int, size: int) -> tuple[bytes, bytes]:
    return os.pread(file, BLOCK, start - BLOCK), os.pread(file, size, start)
