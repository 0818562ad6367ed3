"""The lines of a file of classes: names alone, or each behind its label."""

import re
from collections.abc import Sequence
from typing import Any

# A line with its label in front: a number or an id of WordNet, maybe a mark, and the name.
_LABELLED = re.compile(r"(\d+|n\d{8})(?:\s*([,;:\t])\s*|\s+)(\S.*)")
_LABEL_BEHIND = re.compile(r".*[,;\t]\s*(\d+|n\d{8})")
_REMARK = re.compile(r"#+(\s.*)?")
_HEADER = re.compile(r"(class|label|name|categor)\w*|\w*name", re.IGNORECASE)


def named_lines(lines: Sequence[str], path: str, *, table: bool = False) -> dict[Any, str]:
    """The names in lines, by the labels in front of all of them or else by their numbers from 0.

    Labels are the numbers 0 to n - 1 in any order, or ids of WordNet; a line above them is a
    header. Lines such as `# colours` are remarks, and empty ones at the end are nothing.

    Args:
      lines: Without blanks around them.
      path: Of the file, for messages.
      table: Whether the file says that it has columns (.csv).

    Raises:
      ValueError: There are other labels, or what could be some.
    """
    kept = [line for line in lines if not _REMARK.fullmatch(line)]
    while kept and not kept[-1]:
        kept.pop()
    rows = [_LABELLED.fullmatch(line) for line in kept]
    below = rows[1:] if len(rows) > 2 and not rows[0] else rows
    named = {_label(row): _name(row, table) for row in below if row}
    if len(named) == len(below) and _are_labels(named) and all(named.values()):
        return named
    if kept and (_has_labels(kept, rows) or table and _has_columns(kept)):
        raise ValueError(
            f"{path} must have names alone in its lines, or a label in front of all, 0 to n - 1 "
            f"once each or WordNet's ids, got {kept[0]!r}, ..., {kept[-1]!r}; write them so, or as "
            "a .json file with an object from labels to names"
        )
    if remarks := [line for line in kept if line.startswith("#")]:
        raise ValueError(
            f"{path}: {remarks[0]!r} may be a remark or a class; write '# ...' for a remark, or "
            "the classes as a .json file with a list"
        )
    return dict(enumerate(kept))


def _label(row: re.Match[str]) -> str:
    return str(int(row[1])) if row[1].isdecimal() else row[1]


def _name(row: re.Match[str], table: bool) -> str:
    """The name behind a label, without a table's quotes; "" where there are further columns."""
    name: str = row[3]
    if len(name) > 1 and name[0] == name[-1] == '"':
        return name[1:-1].replace('""', '"')
    return "" if table and row[2] and row[2] in name else name


def _are_labels(found: dict[str, str]) -> bool:
    numbers = {str(number) for number in range(len(found))}
    return found.keys() == numbers or not any(label.isdecimal() for label in found)


def _has_labels(lines: Sequence[str], rows: Sequence[re.Match[str] | None]) -> bool:
    """Whether labels seem to stand in front of most lines, or behind all below the first."""
    marked = [row for row in rows if row and (row[2] or not row[1].isdecimal())]
    numbers = [int(row[1]) for row in rows if row and row[1].isdecimal()]
    counted = len(numbers) == len(rows) and sorted(numbers) == [
        *range(min(numbers), min(numbers) + len(numbers))
    ]
    behind = all(map(_LABEL_BEHIND.fullmatch, lines[1:] or lines))
    return 2 * len(marked) > len(lines) or counted or behind


def _has_columns(lines: Sequence[str]) -> bool:
    """Whether the lines of a table have several columns, or the first is the head of one."""
    several = any(all(mark in line for line in lines) for mark in ",;\t")
    return several or _HEADER.fullmatch(lines[0]) is not None
