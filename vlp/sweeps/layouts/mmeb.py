"""MMEB's and MMEB-V2's image part: queries with candidates of their own, pictures beside.

    SUBSET/test-*.parquet      of MMEB_Test_Instruct: qry_inst, qry_text, qry_img_path, and the
                               lists tgt_text and tgt_img_path
    images/...                 or eval_images/, image-tasks/MMEB/, MMEB/ in a folder above

The first candidate is the right one; equal ones count once. What is a picture and a text at once,
such as a question on a picture, is one embedding, the sum of both. Instructions are left out, for
they are no part of what a dual encoder learned: `columns = ["instructions"]` puts them in front of
queries that are texts.

References:
    Jiang et al., 2024 (VLM2Vec and MMEB), https://arxiv.org/abs/2410.05160;
    https://github.com/TIGER-AI-Lab/VLM2Vec, src/data/eval_dataset/image_*.py, eval_type local.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.formats import open_table, rows_of_split
from data_pipelines.io import is_address
from data_pipelines.limits import Limits
from data_pipelines.sources.cells import column_of
from data_pipelines.sources.groups import kinds_of
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts.files import NamedPictures
from vlp.sweeps.layouts.pairs import of_rows
from vlp.sweeps.sets import EvalSet

_COLUMNS = ("qry_inst", "qry_text", "qry_img_path", "tgt_text", "tgt_img_path")
_FOLDERS = ("images", "eval_images", "image-tasks/MMEB", "MMEB", ".")
_MARK = "<|image_1|>"
_UP = 3  # folders above the subset's that may hold the pictures


def is_here(folder: str, entry: Entry) -> bool:
    """Whether a folder has rows, and the entry asks for candidates."""
    if is_address(folder) or not Path(folder).is_dir() or "candidates" not in entry.tasks:
        return False
    named = any("=" in column for column in entry.columns)  # a table of questions, see there
    return not named and rows_of_split(Path(folder), entry.split) is not None


def open_set(entry: Entry, folder: str, *, limits: Limits) -> EvalSet:
    """The queries with their candidates.

    Args:
        entry: the line of the suite.
        folder: of the subset.
        limits: how large samples may be.

    Raises:
        ValueError: a column is missing, a picture is not there, or there are texts alone.
    """
    found = rows_of_split(Path(folder), entry.split)
    if found is None:
        raise ValueError(f"{folder} must hold parquet files of the split {entry.split!r}")
    table = open_table(*found, name=entry.name, limits=limits)
    there = kinds_of(table.schema)
    missing = [name for name in _COLUMNS if name not in there]  # the first version has no qry_inst
    if missing:
        raise ValueError(
            f"{entry.name} must have the column {missing[0]!r}, as MMEB_Test_Instruct, it has "
            f"{', '.join(there)}"
        )
    values = (column_of(table, name) for name in _COLUMNS)
    rows = [dict(zip(_COLUMNS, each, strict=True)) for each in zip(*values, strict=True)]
    pictures = NamedPictures(*_root(folder), table=f"{entry.name}'s table")
    of, texts, right, beside = [], [], [], []
    for number, row in enumerate(rows):
        said, shown = _query(row, "instructions" in entry.columns)
        words, paths = _candidates(row, number, entry)
        if not shown and not any(paths):
            raise ValueError(
                f"a query of MMEB or its candidates must be pictures, row {number} of {entry.name} "
                "has texts alone; leave the set out"
            )
        query = [pictures.add(shown)] if shown else []
        others = [pictures.add(path) for path in paths]
        of.append(query + others)
        beside.append([said] * len(query) + (words if paths else []))
        texts.append(words if not paths else [] if shown else [said])
        first = np.arange(len(paths or words)) == 0
        right.append(first[:, None] if paths else first[None, :])
    source = pictures.source(entry.name, limits=limits)
    return of_rows(entry, source, of, texts, right=right, beside=beside)


def _query(row: Mapping[str, Any], instructed: bool) -> tuple[str, str]:
    """What a query says, and the picture that it shows."""
    text = str(row["qry_text"] or "").replace(_MARK, "").strip()
    if instructed and row["qry_inst"] and not row["qry_img_path"]:
        text = f"{str(row['qry_inst']).replace(_MARK, '').strip()} {text}".strip()
    return text, str(row["qry_img_path"] or "")


def _candidates(row: Mapping[str, Any], number: int, entry: Entry) -> tuple[list[str], list[str]]:
    """Texts and pictures of the candidates, equal ones once; no pictures where all are texts."""
    words = [str(text or "").replace(_MARK, "").strip() for text in row["tgt_text"] or ()]
    paths = [str(path or "") for path in row["tgt_img_path"] or ()]
    if not any(words) and not any(paths):
        raise ValueError(f"{entry.name}: each row must have candidates, row {number} has none")
    if not any(paths):
        return list(dict.fromkeys(words)), []
    if len(words) != len(paths) or not all(paths):
        raise ValueError(
            f"{entry.name}: candidates must all be pictures, or all texts, row {number} has "
            f"{len(words)} texts and {sum(map(bool, paths))} pictures"
        )
    both = list(dict.fromkeys(zip(words, paths, strict=True)))
    return [word for word, _ in both], [path for _, path in both]


def _root(folder: str) -> tuple[str, list[str]]:
    """Where pictures may lie."""
    above = [Path(folder), *Path(folder).resolve().parents[:_UP]]
    there = [path for path in above if any((path / name).is_dir() for name in _FOLDERS[:-1])]
    return str(there[0] if there else Path(folder)), list(_FOLDERS)
