"""A source of which a list says what is used: DataComp's subsets, lists of keys."""

import itertools
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.faults import Reject
from data_pipelines.files import write_json
from data_pipelines.io import name_of
from data_pipelines.sources.base import Source, check_lasting, lasting_key
from data_pipelines.sources.kept import KeptSource
from data_pipelines.sources.listed import Listed, read_list
from data_pipelines.sources.survey import Stray, Survey

_LOG = logging.getLogger(__name__)
_CHUNK = 65_536
UID = "uid"  # the field of a sample, and the column of the parquet beside its tar


class SubsetSource(KeptSource):
    """The samples of a source that a list names, in the source's order.

    Uids are those of the field `uid`, or of the column `uid` in the parquet that img2dataset writes
    beside a tar, which is read instead where it is there; of samples without one, their keys. Keys
    that several files have are told apart by FILE/KEY, such as `00007.tar/0012`.

    Args:
      source: all samples.
      file: the list, see `listed.read_list`.

    Raises:
      ValueError: the list cannot be read or names none of the samples, or a file cannot be read
        that may hold some.
    """

    def __init__(self, source: Source, file: str | Path) -> None:
        listed = read_list(Path(file))
        self._listed, self._list = len(listed), Path(file).name
        super().__init__(
            source,
            name=f"{source.name} in {self._list}",
            rule=f"listed in {listed.sha256[:16]}",
            rows=lambda: self._worked_out(source, listed),
        )
        if not len(self):
            self._path.unlink(missing_ok=True)
            self._names_path.unlink(missing_ok=True)
            what = f"the field {UID!r}, or else the keys, of" if listed.by_uid else "the keys of"
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
        names = self._names_found()
        if names < self._listed:
            strays.append(Stray("listed, but not in the data", self._listed - names, self._list))
        if len(self) > names:
            several = "of a name that another sample has, too; a key may be FILE/KEY"
            strays.append(Stray(several, len(self) - names, self._list))
        return (*alone, Survey(self.name, len(self), strays=tuple(strays)))

    @property
    def _names_path(self) -> Path:
        return self._path.with_suffix(".json")

    def _worked_out(self, source: Source, listed: Listed) -> np.ndarray:
        """The rows; how many names they have between them is kept beside them."""
        rows, names = _rows(source, listed)
        write_json(self._names_path, {"names": names})
        return rows

    def _names_found(self) -> int:
        """How many names of the list samples have."""
        try:
            return int(json.loads(self._names_path.read_text())["names"])
        except (OSError, ValueError, KeyError):  # rows that an earlier version worked out
            return len(self)


def _rows(source: Source, listed: Listed) -> tuple[np.ndarray, int]:
    """Indices of the listed samples, int64 `[n]`, and how many names of the list they have."""
    names = _uids(source) if listed.by_uid else _keys(source)
    found, start, seen = [np.empty(0, np.int64)], 0, np.zeros(len(listed), bool)
    while chunk := list(itertools.islice(names, _CHUNK)):
        places = listed.find([name for name, _ in chunk])
        if not listed.by_uid:
            places = np.maximum(places, listed.find([name for _, name in chunk]))
        rows = np.flatnonzero(places >= 0)
        seen[places[rows]] = True
        found.append(start + rows)
        start += len(chunk)
    return np.concatenate(found), int(seen.sum())


def _keys(source: Source) -> Iterator[tuple[str, str]]:
    """The key of each sample, alone and behind the name of its file."""
    for index in range(len(source)):
        key = lasting_key(source, index)
        yield key, f"{name_of(source.file(index))}/{key}"


def _uids(source: Source) -> Iterator[tuple[str, str]]:
    """The uid of each sample, or else its key; and nothing more."""
    file, known = "", dict[str, str]()
    for index in range(len(source)):
        if (own := source.file(index)) != file:
            file, known = own, _beside(own)
        key = lasting_key(source, index)
        yield known.get(key) or _said(source, index) or key, ""


def _said(source: Source, index: int) -> str:
    try:
        return str(source.meta(index).get(UID, ""))
    except Reject as fault:
        check_lasting(fault, source.file(index))
        return ""


def _beside(file: str) -> dict[str, str]:
    """Uids by key, of the parquet that img2dataset wrote beside a tar; empty where it has none.

    Raises:
      ValueError: it cannot be read; which samples are used is kept, and must not be a guess.
    """
    path = Path(file).with_suffix(".parquet")
    if not file.endswith(".tar") or not path.is_file():
        return {}
    columns = ["key", UID]
    try:
        with pq.ParquetFile(path) as opened:
            if not {*columns} <= {*opened.schema_arrow.names}:
                return {}
            table = opened.read(columns)
        return dict(zip(table["key"].to_pylist(), table[UID].to_pylist(), strict=True))
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise ValueError(
            f"{path} must be read to know which samples are used, but: {error}; try again, put a "
            "whole one there, or remove it where the samples' JSON holds their uids"
        ) from error


def _example(source: Source, listed: Listed) -> str:
    """The first name that was looked for in the list."""
    name, _ = next(_uids(source) if listed.by_uid else _keys(source), ("", ""))
    return repr(name) if name else "none"
