"""Pairs in Arrow files that lie in a store: read by their batches, as parquet by its row groups.

At opening the headers of all batches are read, for nothing else says where rows lie. A batch is
read whole, with all its columns; what was read last stays in memory, up to a bound.
"""

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa

from data_pipelines.faults import Reject
from data_pipelines.io import File, FileChanged, OpenFiles, name_of, open_file
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.arrow_checks import CUT, check_names, check_same, good_column
from data_pipelines.sources.arrow_messages import Batch, Messages, messages_of
from data_pipelines.sources.fingerprints import Fingerprint
from data_pipelines.sources.group_order import GroupOrder
from data_pipelines.sources.groups import CACHE_BYTES, GroupSource, kinds_of, reason_of
from data_pipelines.sources.recent import Recent
from data_pipelines.sources.row_columns import find_columns
from data_pipelines.sources.survey import Strays, Survey

_LOG = logging.getLogger(__name__)
_THREADS = 16  # that read headers at opening
_HASHED = 4096  # bytes of each batch, its header and the first that it holds


class _Stored(NamedTuple):
    """What is known of a file: its size and tag, its messages, their columns and a hash."""

    size: int
    tag: str
    messages: Messages
    schema: pa.Schema | None
    digest: bytes


class _Rows(NamedTuple):
    """A batch that was read, and its columns that were looked at."""

    batch: pa.RecordBatch
    good: set[str]


class StoredArrowSource(GroupSource):
    """The rows of one or several Arrow files with the same columns, one file after the other.

    A file that is cut off ends with its last whole batch, which is counted and said.

    Args:
      paths: the addresses of the files, streams or files of Arrow's IPC.
      name: what reports call the source; the files' names unless given.
      limits: how large the parts of a sample may be.
      cache_bytes: of batches that stay in memory once they are read, in each process.

    Raises:
      ValueError: none has rows, one cannot be read now, no known columns, or files with others.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        name: str = "",
        limits: Limits = LIMITS,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        strays = Strays()
        self._stored = dict(zip(paths, _known(paths, strays), strict=True))
        self._batches = [
            (number, batch)
            for number, path in enumerate(paths)
            for batch in self._stored[path].messages.batches
        ]
        schemas = [(paths[i], self._stored[paths[i]].schema) for i, _ in self._batches]
        check_same(schemas, paths)
        first, schema = schemas[0]
        super().__init__(
            paths,
            [(number, batch.rows) for number, batch in self._batches],
            schema=schema,
            columns=find_columns(kinds_of(schema), where=first),
            name=name,
            limits=limits,
        )
        self._strays = strays.by_count()
        if strays:
            _LOG.warning("%s is %s", self._strays[0].example, CUT)
        self._open = OpenFiles()
        self._read: Recent[_Rows] = Recent(cache_bytes, size=_size)
        self._order = GroupOrder(self.name, len(self) / len(self._batches))

    def survey(self) -> tuple[Survey, ...]:
        """How many rows, and files cut off; what rows hold is not known before they are read."""
        columns = (self.columns.image, self.columns.caption)
        image, caption = (None if column else len(self) for column in columns)
        found = Survey(
            self.name,
            len(self),
            without_image=image,
            without_caption=caption,
            strays=self._strays,
        )
        return (found,)

    def _add(self, found: Fingerprint, path: str) -> None:
        """Of each file its size, and of every batch what was read of it at opening."""
        stored = self._stored[path]
        found.add(name_of(path), lambda *_: stored.digest, stored.size, text=False, tail=0)

    def _column(self, group: int, name: str) -> pa.Array:
        rows = self._read.get(group, lambda: self._load(group))
        if name == self.columns.image:
            self._order.asked()
            if name not in rows.good:
                self._order.read()
        return good_column(rows.batch, name, rows.good, self.paths[self._files[group]])

    def _load(self, group: int) -> _Rows:
        number, batch = self._batches[group]
        path = self.paths[number]
        stored = self._stored[path]
        try:
            with self._open.reading(path) as file:
                if (file.size, file.tag) != (stored.size, stored.tag):
                    raise FileChanged(f"{path} changed since it was opened")
                heads = _joined(file, stored.messages.heads[: batch.heads])
                data = heads + file.read(batch.start, batch.length)
            return _Rows(_decoded(data, batch), set())
        except (OSError, pa.ArrowException) as error:
            raise Reject(
                reason_of(error), f"the batch at byte {batch.start} of {path}: {error}"
            ) from error


def _size(rows: _Rows) -> int:
    return rows.batch.get_total_buffer_size()  # nbytes believes the places in it


def _joined(file: File, stretches: Sequence[tuple[int, int]]) -> bytes:
    return b"".join(file.read(*stretch) for stretch in stretches)


def _decoded(data: bytes, batch: Batch) -> pa.RecordBatch:
    """The rows of a batch, behind its heads. Raises ArrowInvalid where they are damaged."""
    with contextlib.suppress(StopIteration):
        found = pa.ipc.open_stream(data).read_next_batch()
        if len(found) == batch.rows:
            return found
    raise pa.ArrowInvalid(f"it does not hold {batch.rows} rows")


def _known(paths: Sequence[str], strays: Strays) -> Iterator[_Stored]:
    """What is known of each file.

    Raises:
      ValueError: one cannot be read now; another time its rows would be data.
    """
    with ThreadPoolExecutor(_THREADS) as threads:
        for path, found in zip(paths, threads.map(_looked_at, paths), strict=True):
            if not isinstance(found, _Stored):
                raise ValueError(f"{path} cannot be read: {found}; try again") from found
            if found.messages.damage:
                strays.add(CUT, f"{name_of(path)} ({found.messages.damage})")
            yield found


def _looked_at(path: str) -> _Stored | OSError:
    try:
        with contextlib.closing(open_file(path)) as file:
            messages = messages_of(file)
            heads = _joined(file, messages.heads)
            digest = hashlib.sha256(heads)
            for batch in messages.batches:
                digest.update(file.read(batch.start, min(batch.length, _HASHED)))
    except OSError as error:
        return error
    try:
        schema = pa.ipc.open_stream(heads).schema
        check_names(schema)
    except (OSError, ValueError, pa.ArrowException) as error:
        messages, schema = Messages((), (), messages.damage or str(error)), None
    return _Stored(file.size, file.tag, messages, schema, digest.digest())
