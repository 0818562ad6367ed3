"""Questions of pictures and captions in JSON beside pictures: SugarCrepe, ARO and Winoground.

    TAIL.json                  the end of the entry's name: sugar_crepe/add_att -> add_att.json,
                               aro/visual_genome_relation -> visual_genome_relation.json
    val2017/, images/          the pictures (COCO's; Visual Genome's, of which ARO shows a box)
    examples.jsonl, images/    Winoground, as it is unpacked

The right caption stands first in SugarCrepe and last in ARO, as in their own programs, whose
`argmax` gives a tie to the first.

References:
    https://github.com/RAIVNLab/sugar-crepe; https://arxiv.org/abs/2204.03162 (Winoground);
    https://github.com/mertyg/vision-language-models-are-bows, dataset_zoo/aro_datasets.py.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.io import is_address
from data_pipelines.limits import Limits
from data_pipelines.sources import Source
from data_pipelines.sources.cropped import Box, CroppedSource
from vlp.evals.text_files import read_json
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts.files import NamedPictures, first_there
from vlp.sweeps.sets import Choices, EvalSet
from vlp.sweeps.texts import read_text

_FOLDERS = (".", "images", "val2017", "data/images")
_EXAMPLES = ("examples.jsonl", "data/examples.jsonl")
_BOX = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
_ENDINGS = (".png", ".jpg")


def is_here(folder: str, entry: Entry) -> bool:
    """Whether a folder has the file of the entry, or Winoground's."""
    return not is_address(folder) and _table(folder, entry) is not None


def open_set(entry: Entry, folder: str, *, limits: Limits) -> EvalSet:
    """The questions.

    Args:
        entry: the line of the suite, whose name ends on that of the file.
        folder: where it lies.
        limits: how large samples may be.

    Raises:
        ValueError: the file is damaged, or a picture is not there.
    """
    table = _table(folder, entry)
    if table is None:
        raise ValueError(f"{folder} must hold {_tail(entry)}.json, or {_EXAMPLES[0]}")
    pictures = NamedPictures(folder, _FOLDERS, table=table.name)
    try:
        if table.name == _EXAMPLES[0]:
            return _winoground(entry, table, pictures, limits)
        rows = read_json(table)
        rows = list(rows.values()) if isinstance(rows, dict) else rows
        if "negative_caption" in rows[0]:
            return _sugar_crepe(entry, rows, pictures, limits)
        return _aro(entry, rows, pictures, limits)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{table} must have the fields of its format, {type(error).__name__}: {error}; fetch "
            "it again"
        ) from error


def of_rows(
    entry: Entry,
    source: Source,
    pictures: Sequence[Sequence[int]],
    texts: Sequence[Sequence[str]],
    *,
    right: Sequence[np.ndarray],
    kinds: Sequence[str] = (),
    beside: Sequence[Sequence[str]] = (),
) -> EvalSet:
    """A set of questions, each with its pictures and its texts.

    Args:
        entry: the line of the suite.
        source: all pictures.
        pictures, texts, right, kinds: see `Choices`; texts as such.
        beside: of each question, by picture what is shown with it, "" for nothing.
    """
    flat = [text for own in texts for text in own]
    ends = np.cumsum([len(own) for own in texts])
    place: dict[str, int] = {}
    words = [
        np.asarray(
            [len(flat) + place.setdefault(w, len(place)) if w else -1 for w in own], np.int64
        )
        for own in beside
    ]
    choices = Choices(
        beside=words if place else (),
        pictures=[np.asarray(own, np.int64) for own in pictures],
        texts=[np.arange(end - len(own), end) for end, own in zip(ends, texts, strict=True)],
        right=right,
        kinds=kinds,
    )
    return EvalSet(entry.name, source, texts=[*flat, *place], choices=choices)


def _sugar_crepe(
    entry: Entry, rows: Sequence[Mapping[str, Any]], pictures: NamedPictures, limits: Limits
) -> EvalSet:
    of = [[pictures.add(row["filename"])] for row in rows]
    texts = [(str(row["caption"]), str(row["negative_caption"])) for row in rows]
    right = [np.array([[True, False]])] * len(rows)
    return of_rows(entry, pictures.source(entry.name, limits=limits), of, texts, right=right)


def _aro(
    entry: Entry, rows: Sequence[Mapping[str, Any]], pictures: NamedPictures, limits: Limits
) -> EvalSet:
    places: dict[tuple[int, Box], int] = {}
    of = []
    for row in rows:
        left, top, width, height = (float(row[name]) for name in _BOX)
        part = (pictures.add(row["image_path"]), (left, top, left + width, top + height))
        of.append([places.setdefault(part, len(places))])
    texts = [(str(row["false_caption"]), str(row["true_caption"])) for row in rows]
    right = [np.array([[False, True]])] * len(rows)
    kinds = [str(row.get("relation_name") or "_".join(row.get("attributes", ()))) for row in rows]
    whole = pictures.source(entry.name, limits=limits)
    source = CroppedSource(whole, [row for row, _ in places], [box for _, box in places])
    return of_rows(entry, source, of, texts, right=right, kinds=kinds if any(kinds) else ())


def _winoground(entry: Entry, table: Path, pictures: NamedPictures, limits: Limits) -> EvalSet:
    rows = [_row(table, n, line) for n, line in enumerate(read_text(str(table)).split("\n"), 1)]
    rows = [row for row in rows if row]
    of = [[_picture(pictures, str(row[f"image_{i}"])) for i in (0, 1)] for row in rows]
    texts = [(str(row["caption_0"]), str(row["caption_1"])) for row in rows]
    right = [np.eye(2, dtype=bool)] * len(rows)
    kinds = [str(row.get("collapsed_tag", "")) for row in rows]
    source = pictures.source(entry.name, limits=limits)
    return of_rows(entry, source, of, texts, right=right, kinds=kinds if any(kinds) else ())


def _picture(pictures: NamedPictures, name: str) -> int:
    """The number of a picture that is called without its ending."""
    for ending in _ENDINGS:
        if pictures.has(name + ending):
            return pictures.add(name + ending)
    return pictures.add(name)


def _row(table: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        return json.loads(line) if line.strip() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{table}, line {number} must be JSON: {error}") from error


def _table(folder: str, entry: Entry) -> Path | None:
    tail = _tail(entry)
    return first_there(folder, [f"{tail}.json", f"data/{tail}.json", *_EXAMPLES])


def _tail(entry: Entry) -> str:
    return entry.name.rpartition("/")[2]
