"""A source of which a list says what is used: DataComp's subsets, lists of keys."""

import dataclasses
import hashlib
import itertools
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.caches import cache_folder
from data_pipelines.faults import Reject
from data_pipelines.sources.base import Source, check_index
from data_pipelines.sources.listed import Listed, read_list
from data_pipelines.sources.survey import Stray, Survey
from data_pipelines.sources.within import Within

_LOG = logging.getLogger(__name__)
_CHUNK = 65_536
UID = "uid"  # the field of a sample, and the column of the parquet beside its tar


class SubsetSource(Within):
    """The samples of a source that a list names, in the source's order.

    Uids are those of the field `uid`, or of the column `uid` in the parquet that img2dataset writes
    beside a tar, which is read instead where it is there. Which samples are listed is worked out
    once and kept in the cache as a file that all processes map.

    Args:
      source: all samples.
      file: the list, see `listed.read_list`.

    Raises:
      ValueError: the list cannot be read, or names none of the samples.
    """

    def __init__(self, source: Source, file: str | Path) -> None:
        self.source, self.limits = source, source.limits
        self.name = f"{source.name} in {Path(file).name}"
        listed = read_list(Path(file))
        self._listed, self._list = len(listed), f"{Path(file).name}:{listed.sha256[:16]}"
        self._path = _kept(source, listed)
        self._map()
        if not len(self):
            self._path.unlink(missing_ok=True)
            what = f"the field {UID!r} of" if listed.by_uid else "the keys of"
            raise ValueError(
                f"{file} must name samples of {source.name}, but of its {len(listed):,} names none "
                f"is in {what} {len(source):,} samples, such as {_example(source, listed)}"
            )
        _LOG.info(
            "%s: %d of %d samples are listed, the others are left out",
            self.name,
            len(self),
            len(source),
        )

    def _map(self) -> None:
        self._rows = np.load(self._path, mmap_mode="r", allow_pickle=False)

    @property
    def fingerprint(self) -> str:
        """That of the source, with the list's."""
        return f"{self.source.fingerprint}[listed in {self._list.rpartition(':')[2]}]"

    def __len__(self) -> int:
        return len(self._rows)

    def below(self, index: int) -> tuple[Source, int]:
        """The source, and the sample's index there."""
        return self.source, int(self._rows[check_index(index, len(self))])

    def survey(self) -> tuple[Survey, ...]:
        """What the whole holds, and how much of it is not listed."""
        usual = Survey("", 0)
        unknown = {
            field.name: getattr(usual, field.name)
            for field in dataclasses.fields(Survey)
            if field.name not in ("name", "samples", "strays")
        }
        whole = [dataclasses.replace(part, **unknown) for part in self.source.survey()]
        left, absent = len(self.source) - len(self), self._listed - len(self)
        strays = [Stray("no name of the list", left, self._unlisted())] * bool(left)
        if absent > 0:
            strays.append(Stray("listed, but not in the data", absent, self._list.split(":")[0]))
        return (*whole, Survey(self.name, len(self), strays=tuple(strays)))

    def _unlisted(self) -> str:
        """The key of the first sample that is left out."""
        apart = np.flatnonzero(self._rows != np.arange(len(self)))
        return self.source.key(int(apart[0]) if len(apart) else len(self))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_rows"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()


def _kept(source: Source, listed: Listed) -> Path:
    """The file with the indices of the samples that are listed, int64 and ascending."""
    identity = hashlib.sha256(f"{source.fingerprint} {listed.sha256}".encode()).hexdigest()
    path = cache_folder() / "subsets" / f"{identity[:32]}.npy"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.npy")
    try:
        np.save(partial, _rows(source, listed), allow_pickle=False)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _rows(source: Source, listed: Listed) -> np.ndarray:
    """Indices of the listed samples, int64 `[n]`."""
    names = _uids(source) if listed.by_uid else _keys(source)
    found, start = [np.empty(0, np.int64)], 0
    while chunk := list(itertools.islice(names, _CHUNK)):
        found.append(start + np.flatnonzero(listed.which(chunk)))
        start += len(chunk)
    return np.concatenate(found)


def _keys(source: Source) -> Iterator[str]:
    return map(source.key, range(len(source)))


def _uids(source: Source) -> Iterator[str]:
    """The uid of each sample; "" for none."""
    file, known = "", dict[str, str]()
    for index in range(len(source)):
        if (own := source.file(index)) != file:
            file, known = own, _beside(own)
        yield known.get(source.key(index)) or _said(source, index)


def _said(source: Source, index: int) -> str:
    try:
        return str(source.meta(index).get(UID, ""))
    except Reject:
        return ""


def _beside(file: str) -> dict[str, str]:
    """Uids by key, of the parquet that img2dataset wrote beside a tar; empty without one."""
    path = Path(file).with_suffix(".parquet")
    if not file.endswith(".tar") or not path.is_file():
        return {}
    try:
        table = pq.read_table(path, columns=["key", UID])
        return dict(zip(table["key"].to_pylist(), table[UID].to_pylist(), strict=True))
    except (OSError, pa.ArrowException, UnicodeError) as error:
        _LOG.warning("%s says no uids (%s); those of the samples' JSON are read", path, error)
        return {}


def _example(source: Source, listed: Listed) -> str:
    names: Sequence[str] = [*itertools.islice(_uids(source) if listed.by_uid else _keys(source), 1)]
    return repr(names[0]) if names and names[0] else "none"
