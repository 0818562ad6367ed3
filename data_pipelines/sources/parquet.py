"""Pairs in parquet files: img2dataset's output, and Hugging Face's column of pictures.

A file is read by its row groups, which cannot be read in part. What was read last stays in memory,
up to a bound, so that neighbours cost one reading; a full shuffle reads a group for every sample.

References:
  https://parquet.apache.org/docs/concepts/
  https://github.com/rom1504/img2dataset
  https://huggingface.co/docs/datasets/image_load
"""

import contextlib
import dataclasses
import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.faults import Reject, shown
from data_pipelines.io import File, FileChanged, is_address, name_of, open_file
from data_pipelines.io.stream import Stream
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.fingerprints import Fingerprint
from data_pipelines.sources.group_order import GroupOrder
from data_pipelines.sources.groups import CACHE_BYTES, GroupSource, kinds_of, reason_of
from data_pipelines.sources.recent import Recent
from data_pipelines.sources.row_columns import Columns, find_columns
from data_pipelines.sources.survey import Strays, Survey

_LOG = logging.getLogger(__name__)
_OPEN = 64  # footers in memory
_THREADS = 16  # that read footers at opening
_MARK = 8  # bytes behind a footer
_REMEDY = "write or download it again"


@dataclasses.dataclass(frozen=True)
class _Footer:
    """What is known of a file without reading a row."""

    rows: tuple[int, ...]  # of each group
    schema: pa.Schema
    nulls: dict[str, int | None]  # by the path of a leaf
    stored: tuple[int, bytes] | None  # of what lies in a store, its size and a hash of the footer


class ParquetSource(GroupSource):
    """The rows of one or several parquet files with the same columns, one file after the other.

    A file whose footer cannot be read is left out, counted and said; a group that cannot be read
    costs its rows.

    Args:
      paths: the files, here or in a store.
      name: what reports call the source; the files' names unless given.
      limits: how large the parts of a sample may be.
      cache_bytes: of columns that stay in memory once they are read, in each process.
      columns: what the columns are, where their names do not say it.

    Raises:
      ValueError: no file, none that can be read, no known columns, or files with others.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        name: str = "",
        limits: Limits = LIMITS,
        cache_bytes: int = CACHE_BYTES,
        columns: Columns | None = None,
    ) -> None:
        if not paths:
            raise ValueError("a ParquetSource needs at least one file, got an empty list")
        footers, strays = _footers([os.fspath(path) for path in paths])
        good = list(footers)
        schema = footers[good[0]].schema
        for path in good[1:]:
            _check_same(schema, footers[path].schema, path, good[0], columns)
        columns = columns or find_columns(kinds_of(schema), where=good[0])
        groups = [(i, rows) for i, path in enumerate(good) for rows in footers[path].rows]
        super().__init__(good, groups, schema=schema, columns=columns, name=name, limits=limits)
        self._rows = {i: footers[path].rows for i, path in enumerate(good)}
        self._stored = {path: found.stored for path, found in footers.items() if found.stored}
        self._strays = strays.by_count()
        self._without_image = _nulls([*footers.values()], columns.image, len(self))
        self._without_caption = _nulls([*footers.values()], columns.caption, len(self))
        self._read: Recent[pa.ChunkedArray] = Recent(cache_bytes, size=_size)
        self._open: Recent[pq.FileMetaData] = Recent(_OPEN)
        self._order = GroupOrder(self.name, len(self) / len(self._ends))

    def survey(self) -> tuple[Survey, ...]:
        """Rows that hold nothing where a picture or a caption belongs, and files left out."""
        found = Survey(
            self.name,
            len(self),
            without_image=self._without_image,
            without_caption=self._without_caption,
            strays=self._strays,
            image_example="rows that hold null" if self._without_image else "",
            caption_example="rows that hold null" if self._without_caption else "",
        )
        return (found,)

    def _add(self, found: Fingerprint, path: str) -> None:
        """Of what lies in a store, the footer: it was read at opening, and tells all groups' sizes.

        What a store calls a content, its ETag, is another one once the same bytes are put up again.
        """
        if path in self._stored:
            size, footer = self._stored[path]
            found.add(name_of(path), lambda *_: footer, size, text=False, tail=0)
        else:
            super()._add(found, path)

    def _column(self, group: int, name: str) -> pa.ChunkedArray:
        if name == self.columns.image:
            self._order.asked()
        return self._read.get((group, name), lambda: self._load(group, name))

    def _load(self, group: int, name: str) -> pa.ChunkedArray:
        file = int(self._files[group])
        path = self.paths[file]
        number = group - int(np.searchsorted(self._files, file))
        if name == self.columns.image:
            self._order.read()
        try:
            footer = self._open.get(file, lambda: pq.read_metadata(_where(path)))
            if _group_rows(footer) != self._rows[file]:
                raise FileChanged(f"{path} changed since it was opened")
            with pq.ParquetFile(_where(path), metadata=footer) as opened:
                return opened.read_row_group(number, columns=[name], use_threads=False).column(name)
        except (OSError, pa.ArrowException) as error:
            raise Reject(reason_of(error), f"row group {number} of {path}: {error}") from error


def _where(path: str) -> Any:
    """What pyarrow reads: the path, or what lies in a store as a file."""
    return _readable(open_file(path)) if is_address(path) else path


def _readable(file: File) -> pa.PythonFile:
    return pa.PythonFile(Stream(file), mode="r")


def has_pictures(path: str | Path) -> bool:
    """Whether a parquet file has a column of pictures or sounds; one that is damaged has none.

    Raises:
      ValueError: it cannot be read now.
    """
    try:
        schema = pq.read_schema(_where(os.fspath(path)))
        columns = find_columns(kinds_of(schema), where=str(path))
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors as well
        if isinstance(error, OSError) and reason_of(error) != "shard damaged":
            raise ValueError(f"{path} cannot be read: {error}; try again") from error
        return False
    return columns.image is not None or columns.audio is not None


def _footers(paths: Sequence[str]) -> tuple[dict[str, _Footer], Strays]:
    strays, found, first = Strays(), dict[str, _Footer](), ""
    with ThreadPoolExecutor(_THREADS) as threads:
        for path, footer in zip(paths, threads.map(_footer, paths), strict=True):
            if isinstance(footer, _Footer):
                found[path] = footer
                continue
            if (
                reason_of(footer) != "shard damaged"
            ):  # it may be read another time, and is data then
                raise ValueError(f"{path} cannot be read: {footer}; try again") from footer
            first = first or f"{path} ({footer})"
            strays.add(f"damaged, or no parquet; {_REMEDY}", name_of(path))
    if not found:
        raise ValueError(
            f"a parquet file must be whole, of {len(paths)} none is: {first}; {_REMEDY}"
        )
    if len(strays):
        _LOG.warning(
            "%d of %d parquet files cannot be read and are left out, such as %s; %s",
            len(strays),
            len(paths),
            shown(first),
            _REMEDY,
        )
    return found, strays


def _footer(path: str) -> _Footer | Exception:
    try:
        file = open_file(path) if is_address(path) else None
        footer = pq.read_metadata(path if file is None else _readable(file))
        schema = footer.schema.to_arrow_schema()
        nulls = _null_counts(footer, _leaves(schema))
        stored = None if file is None else (file.size, _digest(file))
        return _Footer(_group_rows(footer), schema, nulls, stored)
    except (OSError, pa.ArrowException) as error:
        return error


def _digest(file: File) -> bytes:
    """A hash of the footer as it stands in the file, behind which are its length and a mark."""
    end = file.size - _MARK
    length = int.from_bytes(file.read(end, 4), "little")
    return hashlib.sha256(file.read(end - length, length)).digest()


def _size(column: pa.ChunkedArray) -> int:
    return column.nbytes


def _group_rows(footer: pq.FileMetaData) -> tuple[int, ...]:
    return tuple(footer.row_group(group).num_rows for group in range(footer.num_row_groups))


def _leaves(schema: pa.Schema) -> set[str]:
    """The paths of what is counted: pictures, or their bytes, and captions."""
    with contextlib.suppress(ValueError):
        columns = find_columns(kinds_of(schema), where="")
        return {f"{columns.image}", f"{columns.image}.bytes", f"{columns.caption}"}
    return set()


def _null_counts(footer: pq.FileMetaData, leaves: set[str]) -> dict[str, int | None]:
    """How many rows hold nothing, by leaf; None where the statistics do not say it."""
    places = {i: footer.schema.column(i).path for i in range(footer.num_columns)}
    counts: dict[str, int | None] = {path: 0 for path in places.values() if path in leaves}
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for place, path in places.items():
            known = counts.get(path)
            if known is not None:
                said = group.column(place).statistics
                whole = said is not None and said.has_null_count
                counts[path] = known + said.null_count if whole else None
    return counts


def _nulls(footers: Sequence[_Footer], column: str | None, rows: int) -> int | None:
    """How many rows hold nothing in a column; None where no statistics say it."""
    if column is None:
        return rows
    total = 0
    for footer in footers:
        # A list's leaf says nothing of its rows.
        paths = [path for path in (column, f"{column}.bytes") if path in footer.nulls]
        count = footer.nulls[paths[0]] if paths else None
        if count is None:
            return None
        total += count
    return total


def _check_same(
    known: pa.Schema, schema: pa.Schema, path: str, first: str, columns: Columns | None
) -> None:
    if columns is not None:
        same = kinds_of(schema) == kinds_of(known)
    else:
        own = find_columns(kinds_of(known), where=first)
        same = find_columns(kinds_of(schema), where=path) == own
    if not same:
        raise ValueError(
            f"parquet files of one folder have the same columns, {name_of(path)} has "
            f"{', '.join(map(shown, schema.names))}, unlike {name_of(first)}; put them into "
            "folders of their own, and join these by a comma"
        )
