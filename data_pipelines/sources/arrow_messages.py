"""Where the parts of an Arrow file lie, found without reading what its rows hold.

Both forms of Arrow's IPC are one message after the other: the schema, dictionaries, batches of
rows. A message is a length, a table of flatbuffers that says what it is, and a body.

References:
  https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format
  https://github.com/apache/arrow/blob/main/format/Message.fbs
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from flatbuffers import encode, packer
from flatbuffers.number_types import Int64Flags, Uint8Flags
from flatbuffers.table import Table

from data_pipelines.io import File

FILE_MAGIC = b"ARROW1"
_FIRST = 8  # where messages begin in the form that has a magic, unless zeros fill it up
_MOST_PADDING = 64  # of them: arrow-rs writes 56
_TAIL = struct.Struct("<I6s")  # behind a footer: its length, and the magic again
_GOES_ON = 0xFFFFFFFF  # stands before a length; files older than Arrow 0.15 have the length alone
_MOST_HEADER = 2**24  # bytes; a schema with the names of 20,000 classes has less than one
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
# Fields of the tables, in the order of Message.fbs.
_KIND, _HEADER, _BODY_LENGTH = 1, 2, 3
_ROWS, _NODES, _COMPRESSION = 0, 1, 3
_MOST_ROWS = 2**31 - 1  # what Arrow's format recommends for all arrays


class Batch(NamedTuple):
    """A batch of rows: where its message lies, in bytes, its rows, and how many heads it needs."""

    start: int
    length: int
    rows: int
    heads: int


class Messages(NamedTuple):
    """What a file consists of.

    Attributes:
      heads: start and length of the schema, then of dictionaries.
      batches: those that are whole.
      damage: why the file ends before its end; "" where it does not.
    """

    heads: tuple[tuple[int, int], ...]
    batches: tuple[Batch, ...]
    damage: str


def messages_of(file: File) -> Messages:
    """The messages of a stream or a file of Arrow's IPC, as far as they are whole.

    Raises:
      OSError: it cannot be read.
    """
    heads: list[tuple[int, int]] = []
    batches: list[Batch] = []
    damage = ""
    try:
        for place, length, kind, rows in _in_order(file, *_bounds(file)):
            if kind == _BATCH:
                batches.append(Batch(place, length, rows, len(heads)))
            elif kind == (_DICTIONARY if heads else _SCHEMA):
                heads.append((place, length))
            else:
                raise ValueError(f"a message of kind {kind} stands at byte {place}")
    except ValueError as error:
        damage = str(error)
    return Messages((*heads,), (*batches,), damage or ("" if heads else "it has no schema"))


def _bounds(file: File) -> tuple[int, int]:
    """Where messages begin and end: all of a stream, and in a file from the magic to the footer.

    A footer that is cut off ends nothing: then the mark of the end is not the last that is there.
    """
    begun = file.read(0, _FIRST + _MOST_PADDING)
    if not begun.startswith(FILE_MAGIC):
        return 0, file.size
    padding = len(begun) - _FIRST - len(begun[_FIRST:].lstrip(b"\0"))
    first = _FIRST + padding // 8 * 8
    end = max(file.size - _TAIL.size, 0)
    tail = file.read(end, _TAIL.size)
    length, magic = _TAIL.unpack(tail.ljust(_TAIL.size, b"\0"))
    return first, end - length if magic == FILE_MAGIC and first <= end - length else file.size


def _in_order(file: File, place: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Place, length, kind and rows of each message up to the mark of the end, which is the last.

    Raises:
      ValueError: there is no whole one at a place, no mark, or one before the end.
    """
    while True:
        start = file.read(place, min(8, stop - place))
        if len(start) < 4:
            raise ValueError(f"it ends at byte {place} without the mark of its end")
        mark, count = struct.unpack("<II", start.ljust(8, b"\0"))
        before = 8 if mark == _GOES_ON else 4
        header = count if mark == _GOES_ON else mark
        if not header:
            break
        length, kind, rows = _message(file, place, before, header)
        if place + length > stop:
            raise ValueError(f"the message at byte {place} is not whole")
        yield place, length, kind, rows
        place += length
    if place + before != stop or len(start) < before:
        raise ValueError(f"the mark of its end stands at byte {place}, before its end")


def _message(file: File, place: int, before: int, header: int) -> tuple[int, int, int]:
    """Length, kind and rows of the message at a place, from its header.

    Raises:
      ValueError: it is damaged.
    """
    if header > _MOST_HEADER:
        raise ValueError(f"a message of {header} bytes stands at byte {place}")
    try:
        message = _root(file.read(place + before, header))
        kind, body = _number(message, _KIND, Uint8Flags), _number(message, _BODY_LENGTH, Int64Flags)
        rows = _rows(_below(message, _HEADER), body) if kind == _BATCH else 0
    except (TypeError, struct.error) as error:  # places that lead out of the header
        raise ValueError(f"the message at byte {place} is damaged") from error
    if body < 0:
        raise ValueError(f"the message at byte {place} is damaged: it has {body} bytes")
    return before + header + body, kind, rows


def _rows(batch: Table, body: int) -> int:
    """The rows of a batch.

    Raises:
      ValueError: it has no columns, the first has others, or no body can hold so many.
    """
    rows = _number(batch, _ROWS, Int64Flags)
    nodes = batch.Offset(_slot(_NODES))
    first = batch.Get(Int64Flags, batch.Vector(nodes)) if nodes else -1
    # What is not compressed has a byte a row in some column at least: bytes and texts have places.
    most = _MOST_ROWS if batch.Offset(_slot(_COMPRESSION)) else body
    if rows != first or not 0 <= rows <= most:
        raise ValueError(f"a batch of {rows} rows has {first} in a column, and {body} bytes")
    return rows


def _root(data: bytes) -> Table:
    return Table(data, encode.Get(packer.uoffset, data, 0))


def _below(table: Table, field: int) -> Table:
    """The table that a field holds."""
    return Table(table.Bytes, table.Indirect(_place(table, field)))


def _number(table: Table, field: int, flags: type) -> int:
    """The number that a field holds; one that is left out is 0."""
    place = _place(table, field)
    return int(table.Get(flags, place)) if place > table.Pos else 0


def _place(table: Table, field: int) -> int:
    return table.Pos + int(table.Offset(_slot(field)))


def _slot(field: int) -> int:
    return 4 + 2 * field
