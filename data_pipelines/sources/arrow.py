"""Pairs in Arrow files: a folder that Hugging Face's `datasets` saved, memory-mapped.

References:
  https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
  https://huggingface.co/docs/datasets/about_arrow
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_pipelines.faults import Reject, shown
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.arrow_messages import FILE_MAGIC
from data_pipelines.sources.groups import GroupSource, kinds_of
from data_pipelines.sources.row_columns import Columns, find_columns
from data_pipelines.sources.survey import Strays, Survey

_LOG = logging.getLogger(__name__)
CUT = "cut off or damaged: the rows behind that are lost; save it again"


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
        self._checked: set[tuple[int, str]] = set()
        check_same([batch.schema for batch in self._batches], paths)
        schema = self._batches[0].schema
        super().__init__(
            [str(path) for path in paths],
            [(file, len(batch)) for file, batch in zip(files, self._batches, strict=True)],
            schema=schema,
            columns=columns or find_columns(kinds_of(schema), where=str(paths[0])),
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
        column = self._batches[group].column(name)
        if (group, name) not in self._checked:
            try:
                check_column(column)
            except pa.ArrowException as error:
                path = self.paths[self._files[group]]
                raise Reject("shard damaged", f"{shown(name)} of {path}: {error}") from error
            self._checked.add((group, name))
        return column

    def __getstate__(self) -> dict[str, Any]:
        # Other processes map the files themselves.
        return self.__dict__ | {"_batches": None, "_checked": set()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._batches, _ = _map([Path(path) for path in self.paths], Strays())


def check_column(column: pa.Array) -> None:
    """Looks at what Arrow takes for granted: lengths and places that lead out of a buffer end the
    process. Texts need not be UTF-8.

    Raises:
      ArrowInvalid: they are damaged.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error) or pa.types.is_nested(column.type):
            raise


def check_same(schemas: Sequence[pa.Schema], paths: Sequence[str | Path]) -> None:
    """Refuses Arrow files without rows, and those whose batches have other columns than the first.

    Raises:
      ValueError: see above.
    """
    if not schemas:
        raise ValueError(
            f"Arrow files must hold rows, {paths[0] if paths else 'the list'} holds none; save "
            "the data again"
        )
    other = next((schema for schema in schemas if schema != schemas[0]), None)
    if other is not None:
        raise ValueError(
            f"Arrow files of one data set have the same columns, got "
            f"{', '.join(map(shown, other.names))} beside {', '.join(map(shown, schemas[0].names))}"
            "; name them as parts joined by a comma"
        )


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
            for batch in _reader(mapped):
                batch.validate()
                batches.append(batch)
                files.append(number)
        except (OSError, pa.ArrowException) as error:
            strays.add(CUT, f"{path.name} ({error})")
    return batches, files


def _reader(mapped: pa.MemoryMappedFile) -> Any:
    """Iterates over the batches of a file."""
    if mapped.read(len(FILE_MAGIC)) == FILE_MAGIC:
        file = pa.ipc.open_file(mapped)
        return map(file.get_batch, range(file.num_record_batches))
    mapped.seek(0)
    return pa.ipc.open_stream(mapped)
