"""Pictures in the cells of a table, several in a row, or in a list in one cell."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from data_pipelines.faults import Reject
from data_pipelines.sources.base import Source, check_index
from data_pipelines.sources.groups import GroupSource
from data_pipelines.sources.recent import Recent
from data_pipelines.sources.survey import Survey

_RECENT = 32  # cells: a list of pictures is asked for picture by picture


class Cell(NamedTuple):
    """Where a picture stands.

    Attributes:
      row: of the table.
      column: its name.
      item: its place in a list; None where the cell is the picture.
    """

    row: int
    column: str
    item: int | None = None


def column_of(table: GroupSource, name: str) -> list[Any]:
    """The values of a column, of all rows in order.

    Raises:
      ValueError: a part of it cannot be read.
    """
    found: list[Any] = []
    for rows, values in table.column(name):
        if values is None:
            raise ValueError(
                f"{table.name}: {rows} rows of the column {name!r} cannot be read; fetch it again"
            )
        found += values.to_pylist()
    return found


class CellPictures(Source):
    """Pictures that stand in cells of a table.

    Args:
      table: its rows.
      cells: where the pictures are.
      keys: what they are called.
    """

    def __init__(self, table: GroupSource, cells: Sequence[Cell], keys: Sequence[str]) -> None:
        self.table, self._cells, self._keys = table, list(cells), list(keys)
        self.name, self.limits = table.name, table.limits
        self._recent: Recent[Any] = Recent(_RECENT)

    @property
    def fingerprint(self) -> str:
        """That of the table, with the cells."""
        cells = hashlib.sha256(repr([tuple(cell) for cell in self._cells]).encode()).hexdigest()
        return f"{self.table.fingerprint}[cells {cells[:32]}]"

    def __len__(self) -> int:
        return len(self._cells)

    def key(self, index: int) -> str:
        """What the picture is called."""
        return self._keys[check_index(index, len(self))]

    def file(self, index: int) -> str:
        """The path of the table's file."""
        return self.table.file(self._cells[check_index(index, len(self))].row)

    def image(self, index: int) -> bytes:
        """The image file."""
        cell = self._cells[check_index(index, len(self))]
        place = (cell.row, cell.column)
        value = self._recent.get(place, lambda: self.table._cell(cell.row, cell.column))
        if cell.item is not None:
            value = value[cell.item] if isinstance(value, list) and cell.item < len(value) else None
        data = value.get("bytes") if isinstance(value, Mapping) else value
        if not isinstance(data, bytes):
            raise Reject("image missing", f"{cell.column} holds no bytes of a picture")
        if len(data) > self.limits.image_bytes:
            raise Reject("image too large", f"{len(data)} > {self.limits.image_bytes} bytes")
        return data

    def audio(self, index: int) -> bytes:
        """Raises Reject: cells of pictures are no sounds."""
        raise Reject("audio missing")

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        """Raises Reject: what the texts of a row belong to, whoever made the cells knows."""
        raise Reject("caption missing")

    def meta(self, index: int) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def survey(self) -> tuple[Survey, ...]:
        """How many pictures."""
        return (Survey(self.name, len(self)),)
