"""Tables that name pictures and their captions: CSV, TSV and JSON lines, read to rows.

A CSV is separated by commas, tabs or semicolons: by what makes columns of known names out of its
header. Text is UTF-8, or UTF-16 with its mark. A caption in double quotes may have several lines.
"""

import codecs
import csv
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from data_pipelines.faults import Reject, shown
from data_pipelines.sources.base import parse_metadata
from data_pipelines.sources.members import IMAGE, role_of

NAMES = ("captions.csv", "captions.tsv", "captions.jsonl", "metadata.csv", "metadata.jsonl")
SUFFIXES = (".csv", ".tsv", ".jsonl")
IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "filepath", "path")
CAPTION_COLUMNS = ("caption", "captions", "text", "title")
_HINT = " (separate columns by commas, tabs or semicolons)"
# What is too long costs its sample, see `Limits`; csv would refuse the table at 128 KiB.
csv.field_size_limit(2**24)
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
      line: where it begins, from 1.
      image: as it is written.
      captions: None where the table has no column of captions, or null there.
      fields: its other columns by name.
    """

    line: int
    image: str
    captions: Sequence[str] | None
    fields: Mapping[str, Any]


def read_table(table: Path) -> Iterator[Row]:
    """The rows of a table. One called metadata needs no captions, as Hugging Face's imagefolder.

    Raises:
      ValueError: no known column, or a row that cannot be read, with its line.
    """
    rows = _json_rows if table.suffix.lower() == ".jsonl" else _csv_rows
    with _opened(table) as file:
        try:
            yield from rows(table, file)
        except UnicodeError as error:
            raise ValueError(f"{table} is not whole UTF-16 ({error}); write it as UTF-8") from error


def _opened(table: Path) -> TextIO:
    with table.open("rb") as file:
        mark = file.read(2)
    wide = mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    # surrogateescape keeps bytes that are not UTF-8 as they are, so only their sample is rejected.
    errors = "strict" if wide else "surrogateescape"
    return table.open(encoding="utf-16" if wide else "utf-8-sig", errors=errors, newline="")


def _csv_rows(table: Path, file: TextIO) -> Iterator[Row]:
    first = file.readline()
    if "\0" in first:
        raise ValueError(f"{table} holds NUL bytes, as UTF-16 does; write it as UTF-8")
    separator = _separator(first, table)
    header = _cells(first, separator)
    _check_names(header, f"{table}, header")
    image = header.index(_one_of(header, IMAGE_COLUMNS, f"{table}, header"))
    caption = _caption_column(header, table)
    column = -1 if caption is None else header.index(caption)
    for line, cells, text in _records(table, file, separator):
        if len(cells) != len(header):
            raise ValueError(
                f"{table}, line {line}: {len(header)} columns are needed, separated by "
                f"{_SEPARATORS[separator]}, got {len(cells)}; put captions that hold some in "
                "double quotes"
            )
        _check_quotes(f"{table}, line {line}", text, separator, cells)
        others = {
            name: cell
            for place, (name, cell) in enumerate(zip(header, cells, strict=True))
            if place not in (image, column)
        }
        yield Row(line, cells[image], None if column < 0 else [cells[column]], others)


def _check_names(header: Sequence[str], where: str) -> None:
    again = next((name for name in header if name and header.count(name) > 1), None)
    if again is not None:
        raise ValueError(
            f"{where}: a column has a name of its own, {shown(again)} is there "
            f"{header.count(again)} times; rename one (several captions are several rows)"
        )


def _records(
    table: Path, file: TextIO, separator: str
) -> Iterator[tuple[int, list[str], list[str]]]:
    """Line, cells and physical lines of each record behind the header."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for text in file:
            taken.append(text)
            yield text

    rows = csv.reader(lines(), delimiter=separator, strict=True, skipinitialspace=True)
    line = 2
    try:
        for cells in rows:
            if any(cell.strip() for cell in cells):
                yield line, cells, taken
            line += len(taken)
            taken.clear()
    except csv.Error as error:
        raise ValueError(
            f"{table}, line {line}: {error}; close the double quotes that this row opens, and "
            "write those within a caption twice"
        ) from error


def _check_quotes(where: str, lines: Sequence[str], separator: str, cells: Sequence[str]) -> None:
    """Refuses a row whose open quote took other rows along, up to some later quote."""
    own = {cell.strip() for cell in cells}
    for text in lines if len(lines) > 1 else ():
        names = (cell.strip().strip('"') for cell in text.split(separator))
        if any(_is_picture(name) and name not in own for name in names):
            raise ValueError(
                f"{where}: a double quote opens there and takes another row "
                f"({shown(text.strip())}) into the caption; close it"
            )


def _is_picture(name: str) -> bool:
    stem, _, extension = name.rpartition(".")
    return bool(stem) and role_of(extension) == IMAGE


def _separator(first: str, table: Path) -> str:
    """What makes the most columns of known names out of the header."""
    known = {*IMAGE_COLUMNS, *CAPTION_COLUMNS}
    order = sorted(_SEPARATORS, key=lambda mark: mark != "\t" or table.suffix.lower() != ".tsv")
    return max(order, key=lambda mark: len(known & set(_cells(first, mark))))


def _cells(first: str, separator: str) -> list[str]:
    rows = csv.reader([first], delimiter=separator, skipinitialspace=True)
    return [cell.strip().lower() for row in rows for cell in row]


def _json_rows(table: Path, file: TextIO) -> Iterator[Row]:
    for line, raw in enumerate(file, start=1):
        if not raw.strip():
            continue
        where = f"{table}, line {line}"
        try:
            row = {name.strip().lower(): value for name, value in parse_metadata(raw).items()}
        except Reject as error:
            raise ValueError(
                f"{where}: one JSON object a line is needed ({error.detail})"
            ) from error
        image = row.pop(_one_of(row, IMAGE_COLUMNS, where))
        column = _caption_column(row, table, where=where)
        captions = None if column is None else row.pop(column)
        captions = captions if isinstance(captions, list | None) else [captions]
        if not all(isinstance(text, str) for text in (image, *(captions or ()))):
            found = json.dumps([image, captions])[:80]
            raise ValueError(f"{where}: image and caption must be strings, got {found}")
        yield Row(line, image, captions, row)


def _caption_column(columns: Iterable[str], table: Path, *, where: str = "") -> str | None:
    found = next((name for name in CAPTION_COLUMNS if name in columns), None)
    if found is None and table.stem.lower() != "metadata":
        return _one_of(columns, CAPTION_COLUMNS, where or f"{table}, header")
    return found


def _one_of(columns: Iterable[str], names: tuple[str, ...], where: str) -> str:
    columns = list(columns)
    found = next((name for name in names if name in columns), None)
    if found is None:
        raise ValueError(
            f"{where}: one column must be called {', '.join(names)}; got "
            f"{', '.join(map(shown, columns))}" + _HINT * (len(columns) == 1)
        )
    return found
