"""Where the parts of an Arrow file lie, found without reading what its rows hold.

Both forms of Arrow's IPC are one message after the other: the schema, dictionaries, batches of
rows. A message is a length, a table of flatbuffers that says what it is, and a body.

References:
  https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format
  https://github.com/apache/arrow/blob/main/format/Message.fbs
"""

import struct
from typing import NamedTuple

from flatbuffers import encode, packer
from flatbuffers.number_types import Int64Flags, Uint8Flags
from flatbuffers.table import Table

from data_pipelines.io import File

FILE_MAGIC = b"ARROW1"
_FIRST = 8  # where messages begin in the form that has a magic
_GOES_ON = 0xFFFFFFFF  # stands before a length; files older than Arrow 0.15 have the length alone
_MOST_HEADER = 2**24  # bytes; a schema with the names of 20,000 classes has less than one
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
# Fields of the tables, in the order of Message.fbs.
_KIND, _HEADER, _BODY_LENGTH = 1, 2, 3
_ROWS = 0


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
    place = _FIRST if file.read(0, len(FILE_MAGIC)) == FILE_MAGIC else 0
    try:
        while place < file.size:
            length, kind, rows = _message(file, place)
            if not length:  # the mark of the end
                break
            if kind == _BATCH:
                batches.append(Batch(place, length, rows, len(heads)))
            elif kind == (_DICTIONARY if heads else _SCHEMA):
                heads.append((place, length))
            else:
                raise ValueError(f"a message of kind {kind} stands at byte {place}")
            place += length
    except (ValueError, struct.error) as error:
        return Messages((*heads,), (*batches,), str(error))
    return Messages((*heads,), (*batches,), "" if heads else "it has no schema")


def _message(file: File, place: int) -> tuple[int, int, int]:
    """Length, kind and rows of the message at a place; length 0 at the end of all.

    Raises:
      ValueError, struct.error: there is no whole one.
    """
    mark, count = struct.unpack("<II", file.read(place, 8).ljust(8, b"\0"))
    before = 8 if mark == _GOES_ON else 4
    header = count if mark == _GOES_ON else mark
    if not header:
        return 0, 0, 0
    if header > _MOST_HEADER:
        raise ValueError(f"a message of {header} bytes stands at byte {place}")
    message = _root(file.read(place + before, header))
    kind, body = _number(message, _KIND, Uint8Flags), _number(message, _BODY_LENGTH, Int64Flags)
    rows = _number(_below(message, _HEADER), _ROWS, Int64Flags) if kind == _BATCH else 0
    length = before + header + body
    if body < 0 or rows < 0 or place + length > file.size:
        raise ValueError(f"the message at byte {place} is not whole")
    return length, kind, rows


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
    return table.Pos + int(table.Offset(4 + 2 * field))
