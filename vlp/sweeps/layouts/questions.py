"""Questions in the rows of a table, as Hugging Face's `datasets` have them: parquet or Arrow.

`columns` of the entry says what the columns are: `image=NAME` and `text=NAME`, as often as a
question has some, `kind=NAME` what it asks of. Where it has as many pictures as texts the i-th
belong together; of several texts to one picture the first is right. WinoGAViL's columns (cue,
candidates, candidate_images, associations) are known: a cue and the pictures that go with it.

References:
    https://huggingface.co/datasets/facebook/winoground, nlphuji/winogavil;
    DataComp's eval_utils/wino_eval.py: "A cue" or "An cue", in small letters.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.formats import open_table, rows_of_split
from data_pipelines.io import is_address
from data_pipelines.limits import Limits
from data_pipelines.sources.cells import Cell, CellPictures, column_of
from data_pipelines.sources.groups import GroupSource, kinds_of
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts.pairs import of_rows
from vlp.sweeps.sets import EvalSet

_WINOGAVIL = ("cue", "candidates", "candidate_images", "associations")
_ROLES = ("image", "text", "kind")


def is_here(folder: str, entry: Entry) -> bool:
    """Whether a folder holds rows, and the entry says what they are."""
    if is_address(folder) or not Path(folder).is_dir():
        return False
    known = any("=" in column for column in entry.columns) or "associations" in entry.tasks
    return known and rows_of_split(Path(folder), entry.split) is not None


def open_set(entry: Entry, folder: str, *, limits: Limits) -> EvalSet:
    """The questions.

    Args:
        entry: the line of the suite.
        folder: that holds the files, at any depth.
        limits: how large samples may be.

    Raises:
        ValueError: there are no files of the split, a column is missing, or a row says nothing.
    """
    found = rows_of_split(Path(folder), entry.split)
    if found is None:
        raise ValueError(f"{folder} must hold parquet or Arrow files of the split {entry.split!r}")
    table = open_table(*found, name=entry.name, limits=limits)
    if not entry.columns:
        return _winogavil(entry, table)
    by_role: dict[str, list[str]] = {role: [] for role in _ROLES}
    for column in entry.columns:
        role, mark, name = column.partition("=")
        if not mark or role not in by_role:
            raise ValueError(
                f"{entry.name}: columns must be {', '.join(f'{r}=NAME' for r in _ROLES)}, got "
                f"{column!r}"
            )
        by_role[role].append(name)
    texts = list(zip(*(_texts(table, name) for name in by_role["text"]), strict=True))
    i, j = len(by_role["image"]), len(by_role["text"])
    if not i or not j or i not in (1, j):
        raise ValueError(
            f"{entry.name}: a question has one picture and some texts, or as many of both, got "
            f"{i} and {j} columns"
        )
    _check(table, by_role["image"])
    cells = [Cell(row, name) for row in range(len(table)) for name in by_role["image"]]
    keys = [f"{cell.row}/{cell.column}" for cell in cells]
    right = np.eye(i, j, dtype=bool)
    kinds = [str(kind or "") for name in by_role["kind"] for kind in column_of(table, name)]
    return of_rows(
        entry,
        CellPictures(table, cells, keys),
        [range(row * i, row * i + i) for row in range(len(table))],
        texts,
        right=[right] * len(table),
        kinds=kinds,
    )


def cue_prompt(cue: str) -> str:
    """What a model reads of WinoGAViL's cue."""
    cue = cue.lower()
    return f"{'An' if cue[:1] in 'aeiou' else 'A'} {cue}"


def _winogavil(entry: Entry, table: GroupSource) -> EvalSet:
    _check(table, _WINOGAVIL)
    cues, candidates, associations = (
        column_of(table, name) for name in ("cue", "candidates", "associations")
    )
    cells: dict[str, Cell] = {}
    pictures, right = [], []
    for row, (own, good) in enumerate(zip(candidates, associations, strict=True)):
        if not own or not set(good or ()) & set(own):
            raise ValueError(
                f"{entry.name}: each row must have candidates and associations among them, row "
                f"{row} has {own} and {good}"
            )
        for item, name in enumerate(own):  # one picture is a candidate of many
            cells.setdefault(name, Cell(row, "candidate_images", item))
        pictures.append(own)
        right.append(np.isin(own, good)[:, None])
    place = {name: number for number, name in enumerate(cells)}
    source = CellPictures(table, list(cells.values()), list(cells))
    of = [[place[name] for name in own] for own in pictures]
    return of_rows(entry, source, of, [(cue_prompt(str(cue)),) for cue in cues], right=right)


def _texts(table: GroupSource, name: str) -> Sequence[str]:
    _check(table, [name])
    values = column_of(table, name)
    wrong = next((row for row, value in enumerate(values) if not isinstance(value, str)), None)
    if wrong is not None:
        raise ValueError(f"{table.name}: {name} must be a text in each row, row {wrong} has none")
    return values


def _check(table: GroupSource, names: Iterable[str]) -> None:
    there: Any = list(kinds_of(table.schema))
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(
            f"{table.name} must have the column {missing[0]!r}, it has {', '.join(there)}"
        )
