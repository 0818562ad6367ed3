"""A source of which some samples are used: which, is worked out once and kept in a file."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.caches import cache_folder
from data_pipelines.files import write_whole
from data_pipelines.sources.base import Source, check_index
from data_pipelines.sources.within import Within


class KeptSource(Within):
    """The samples of a source at some places, in its order.

    The places lie in the cache, as a file that all processes map.

    Args:
      source: all samples.
      name: what reports call those that are used.
      rule: what says which they are, for the fingerprint; another rule has another text.
      rows: the places by that rule, int64 `[n]` and ascending; called where they are not kept yet.
    """

    def __init__(
        self, source: Source, *, name: str, rule: str, rows: Callable[[], np.ndarray]
    ) -> None:
        self.source, self.limits, self.name = source, source.limits, name
        self.rule = rule
        identity = hashlib.sha256(self.fingerprint.encode()).hexdigest()
        self._path = cache_folder("subsets") / f"{identity[:32]}.npy"
        if not self._path.is_file():
            _write(self._path, rows())
        self._map()

    def _map(self) -> None:
        self._rows = np.load(self._path, mmap_mode="r", allow_pickle=False)

    @property
    def fingerprint(self) -> str:
        """That of the source, with the rule."""
        return f"{self.source.fingerprint}[{self.rule}]"

    def __len__(self) -> int:
        return len(self._rows)

    def below(self, index: int) -> tuple[Source, int]:
        """The source, and the sample's index there."""
        return self.source, int(self._rows[check_index(index, len(self))])

    def left_out(self) -> tuple[int, str]:
        """How many samples are not used, and the key of the first; "" where all are."""
        count = len(self.source) - len(self)
        apart = np.flatnonzero(self._rows != np.arange(len(self)))
        first = int(apart[0]) if len(apart) else len(self)
        return count, self.source.key(first) if count else ""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_rows"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()


def _write(path: Path, rows: np.ndarray) -> None:
    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.save(file, rows, allow_pickle=False)

    write_whole(path, write)
