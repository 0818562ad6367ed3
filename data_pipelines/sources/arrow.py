"""Pairs in Arrow files: a folder that Hugging Face's `datasets` saved, memory-mapped.

References:
  https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
  https://huggingface.co/docs/datasets/about_arrow
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.arrow_checks import CUT, check_names, check_same, good_column
from data_pipelines.sources.arrow_messages import FILE_MAGIC
from data_pipelines.sources.groups import GroupSource, kinds_of
from data_pipelines.sources.row_columns import Columns, find_columns
from data_pipelines.sources.survey import Strays, Survey

_LOG = logging.getLogger(__name__)


class ArrowSource(GroupSource):
    """The rows of one or several Arrow files with the same columns, one file after the other.

    Args:
      paths: the files, streams or files of Arrow's IPC.
      name: what reports call the source; the files' names unless given.
      limits: how large the parts of a sample may be.
      columns: what the columns are, where their names do not say it.

    Raises:
      ValueError: no file, none that can be read, no known columns, or files with others.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        name: str = "",
        limits: Limits = LIMITS,
        columns: Columns | None = None,
    ) -> None:
        strays = Strays()
        self._batches, files = _map(paths, strays)
        self._good: dict[int, set[str]] = {}  # columns that were looked at, by batch
        check_same(
            [(paths[i], batch.schema) for i, batch in zip(files, self._batches, strict=True)], paths
        )
        schema = self._batches[0].schema
        super().__init__(
            [str(path) for path in paths],
            [(file, len(batch)) for file, batch in zip(files, self._batches, strict=True)],
            schema=schema,
            columns=columns or find_columns(kinds_of(schema), where=str(paths[files[0]])),
            name=name,
            limits=limits,
        )
        self._strays = strays.by_count()
        if strays:
            _LOG.warning("%s is %s", self._strays[0].example, CUT)

    def survey(self) -> tuple[Survey, ...]:
        """Rows that hold nothing where a picture or a caption belongs, and files cut off."""
        images, captions = self._nulls(self.columns.image), self._nulls(self.columns.caption)
        found = Survey(
            self.name,
            len(self),
            without_image=images,
            without_caption=captions,
            strays=self._strays,
            image_example="rows that hold null" if images else "",
            caption_example="rows that hold null" if captions else "",
        )
        return (found,)

    def _nulls(self, column: str | None) -> int:
        if column is None:
            return len(self)
        return sum(_nulls(batch.column(column)) for batch in self._batches)

    def _column(self, group: int, name: str) -> pa.Array:
        good = self._good.setdefault(group, set())
        return good_column(self._batches[group], name, good, self.paths[self._files[group]])

    def __getstate__(self) -> dict[str, Any]:
        # Other processes map the files themselves.
        return self.__dict__ | {"_batches": None, "_good": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._batches, _ = _map([Path(path) for path in self.paths], Strays())


def _nulls(array: pa.Array) -> int:
    if isinstance(array, pa.StructArray):  # Hugging Face's pictures: without bytes there is none
        array = array.flatten()[array.type.get_field_index("bytes")]
    return array.null_count


def _map(paths: Sequence[Path], strays: Strays) -> tuple[list[pa.RecordBatch], list[int]]:
    """The batches of all files, none of which is read, and the number of each one's file."""
    batches: list[pa.RecordBatch] = []
    files: list[int] = []
    for number, path in enumerate(paths):
        mapped = pa.memory_map(str(path))
        try:
            for batch in _read(mapped):
                batch.validate()
                batches.append(batch)
                files.append(number)
        except (OSError, ValueError, pa.ArrowException) as error:
            strays.add(CUT, f"{path.name} ({error})")
    return batches, files


def _read(mapped: pa.MemoryMappedFile) -> Iterator[pa.RecordBatch]:
    """The batches of a file.

    Raises:
      ArrowException, OSError, ValueError: it is damaged, or a stream ends without its mark or
        before the file does.
    """
    if mapped.read(len(FILE_MAGIC)) == FILE_MAGIC:
        file = pa.ipc.open_file(mapped)
        check_names(file.schema)
        yield from map(file.get_batch, range(file.num_record_batches))
        return
    mapped.seek(0)
    stream = pa.ipc.open_stream(mapped)
    check_names(stream.schema)
    end = mapped.tell()
    for batch in stream:
        end = mapped.tell()
        yield batch
    if not end < mapped.tell() == mapped.size():
        raise ValueError(f"the mark of its end must be its last bytes, it is not at byte {end}")
