"""A source of which a list says what is used: DataComp's subsets, lists of keys."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.faults import Reject
from data_pipelines.sources.base import Source
from data_pipelines.sources.kept import KeptSource
from data_pipelines.sources.listed import Listed, read_list
from data_pipelines.sources.survey import Stray, Survey

_LOG = logging.getLogger(__name__)
_CHUNK = 65_536
UID = "uid"  # the field of a sample, and the column of the parquet beside its tar


class SubsetSource(KeptSource):
    """The samples of a source that a list names, in the source's order.

    Uids are those of the field `uid`, or of the column `uid` in the parquet that img2dataset writes
    beside a tar, which is read instead where it is there.

    Args:
      source: all samples.
      file: the list, see `listed.read_list`.

    Raises:
      ValueError: the list cannot be read, or names none of the samples.
    """

    def __init__(self, source: Source, file: str | Path) -> None:
        listed = read_list(Path(file))
        self._listed, self._list = len(listed), Path(file).name
        super().__init__(
            source,
            name=f"{source.name} in {self._list}",
            rule=f"listed in {listed.sha256[:16]}",
            rows=lambda: _rows(source, listed),
        )
        if not len(self):
            self._path.unlink(missing_ok=True)
            what = f"the field {UID!r} of" if listed.by_uid else "the keys of"
            raise ValueError(
                f"{file} must name samples of {source.name}, but of its {len(listed):,} names none "
                f"is in {what} {len(source):,} samples, such as {_example(source, listed)}"
            )
        _LOG.info("%s: %d samples are not listed and are left out", self.name, self.left_out()[0])

    def survey(self) -> tuple[Survey, ...]:
        """What the whole holds, and how much of it is not listed."""
        # What the whole lacks need not be lacking in what is used of it.
        alone = [
            Survey(part.name, part.samples, strays=part.strays, gone=part.gone)
            for part in self.source.survey()
        ]
        count, example = self.left_out()
        strays = [Stray("no name of the list", count, example)] * bool(count)
        absent = self._listed - len(self)
        if absent > 0:
            strays.append(Stray("listed, but not in the data", absent, self._list))
        return (*alone, Survey(self.name, len(self), strays=tuple(strays)))


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
    """The first name that was looked for in the list."""
    name = next(_uids(source) if listed.by_uid else _keys(source), "")
    return repr(name) if name else "none"
