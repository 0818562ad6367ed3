"""Sets as CLIP_benchmark's `clip_benchmark_export_wds` writes them, which DataComp's are, too.

    classnames.txt                              a class a line
    zeroshot_classification_templates.txt       a template a line, {c} for the name
    dataset_type.txt                            retrieval or multilabel; else classification
    test/nshards.txt                            how many tars there are
    test/0.tar, test/1.tar, ...                 KEY.webp with KEY.cls, KEY.npy or KEY.txt

Beside KEY.cls DataComp has what else is known of a picture in KEY.npy; `columns` of the entry names
its columns. A root may be an address, also of a hub's page, `https://.../datasets/U/R/tree/main`:
texts are then read below `raw`, tars below `resolve`.

References:
    https://github.com/LAION-AI/CLIP_benchmark, datasets/builder.py, build_wds_dataset.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.faults import shown
from data_pipelines.io import child, exists, is_address, listing
from data_pipelines.limits import Limits
from data_pipelines.sources.tar import TarSource
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts.beside import array, members_beside, read_each
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.texts import check_templates, lines_of, read_text, short

CLASSES, TEMPLATES = "classnames.txt", "zeroshot_classification_templates.txt"
_KIND, _COUNT = "dataset_type.txt", "nshards.txt"
RETRIEVAL, MULTILABEL, CLASSIFICATION = "retrieval", "multilabel", "classification"
_KINDS = (RETRIEVAL, MULTILABEL, CLASSIFICATION)
_MOST_TARS = 10**6
_HUB = re.compile(r"(https?://.+/datasets/[^/]+/[^/]+)/tree/(.+)")


def is_here(folder: str, entry: Entry) -> bool:
    """Whether a folder has this layout."""
    texts, _ = _roots(folder)
    return exists(child(child(texts, entry.split), _COUNT)) or exists(child(texts, CLASSES))


def open_set(entry: Entry, folder: str, *, limits: Limits) -> EvalSet:
    """The set in a folder.

    Args:
        entry: the line of the suite; its split is a folder in it.
        folder: its root, here or in a store.
        limits: how large samples may be.

    Raises:
        ValueError: shards are missing, a label is none of the classes, or what else is half there.
    """
    texts, data = _roots(folder)
    tars, notes = _tars(texts, data, entry.split)
    source = TarSource(tars, name=entry.name, limits=limits)
    beside = members_beside(source, suffixes=("cls", "npy", "txt"))
    kind = _kind(texts)
    if kind == RETRIEVAL:
        return _captioned(source, beside, notes, most=entry.most_captions)
    classes, templates = lines_of(child(texts, CLASSES)), lines_of(child(texts, TEMPLATES))
    if templates is not None:
        notes += check_templates(templates, where=short(child(texts, TEMPLATES)))
    common: dict[str, Any] = dict(class_names=classes or (), templates=templates or ())
    if kind == MULTILABEL:
        truths = _truths(source, beside, classes)
        return EvalSet(entry.name, source, labels=truths, notes=notes, **common)
    groups = _fields(source, beside, entry.columns)
    labels = _labels(source, beside, classes, texts, needed=not entry.columns)
    return EvalSet(entry.name, source, labels=labels, groups=groups, notes=notes, **common)


def _roots(folder: str) -> tuple[str, str]:
    """Where texts lie, and where tars do."""
    hub = _HUB.fullmatch(folder.rstrip("/"))
    if hub is None:
        return folder, folder
    return f"{hub[1]}/raw/{hub[2]}", f"{hub[1]}/resolve/{hub[2]}"


def _there(folder: str) -> list[str]:
    """The tars in a folder; none where its server lists nothing."""
    try:
        return [file for file in listing(folder) if file.endswith(".tar")]
    except OSError:
        if is_address(folder):
            return []
        raise


def _tars(texts: str, data: str, split: str) -> tuple[list[str], list[str]]:
    inside = child(data, split)
    there = _there(inside)
    if not exists(child(child(texts, split), _COUNT)):
        if not there:
            raise ValueError(
                f"{short(inside)} must hold tars and {_COUNT}, it holds neither; is {split!r} the "
                "right split?"
            )
        note = f"{short(inside)} has no {_COUNT}: its {len(there)} tars are taken for all"
        return sorted(there, key=lambda file: (len(file), file)), [note]
    text = read_text(child(child(texts, split), _COUNT)).strip()
    if not text.isdecimal() or not 0 < int(text) <= _MOST_TARS:
        raise ValueError(f"{short(inside)}/{_COUNT} must be a number of tars, got {text[:40]!r}")
    wanted = [child(inside, f"{number}.tar") for number in range(int(text))]
    missing = [tar for tar in wanted if tar not in there and not exists(tar)]
    if missing:
        raise ValueError(
            f"{short(inside)} must hold {text} tars ({_COUNT}), {len(missing)} are missing, "
            f"such as {short(missing[0])}; fetch them"
        )
    more = len(there) - len(wanted)
    return wanted, [f"{more} tars beyond {_COUNT} are not read"] * (more > 0)


def _kind(folder: str) -> str:
    file = child(folder, _KIND)
    kind = read_text(file).strip().lower() if exists(file) else CLASSIFICATION
    if kind not in _KINDS:
        raise ValueError(f"{short(file)} must be one of {', '.join(_KINDS)}, got {kind[:40]!r}")
    return kind


def _captioned(
    source: TarSource,
    beside: Sequence[Mapping[str, bytes]],
    notes: list[str],
    *,
    most: int | None,
) -> EvalSet:
    texts: list[str] = []
    of: list[int] = []
    decoded = read_each(source, beside, "txt", lambda data: data.decode("utf-8"))
    missing = sum(text is None for text in decoded)
    for index, text in enumerate(decoded):
        lines = (text or "").splitlines()[:most]  # which cuts at U+2028 and others, too
        texts += lines
        of += [index] * len(lines)
    if not texts:
        raise ValueError(
            f"{source.name} must hold captions in KEY.txt, none of its samples has one"
        )
    if missing:
        notes = [*notes, f"{missing:,} pictures have no KEY.txt"]
    picture_of_text = np.asarray(of, np.int64)
    return EvalSet(source.name, source, texts=texts, picture_of_text=picture_of_text, notes=notes)


def _labels(
    source: TarSource,
    beside: Sequence[Mapping[str, bytes]],
    classes: Sequence[str] | None,
    folder: str,
    *,
    needed: bool,
) -> np.ndarray | None:
    given = read_each(source, beside, "cls", _number)
    if all(label is None for label in given):
        if not needed:
            return None
        raise ValueError(
            f"{source.name} must hold labels in KEY.cls, of {len(given):,} samples none has one"
        )
    labels = np.asarray([-1 if label is None else label for label in given], np.int64)
    there = np.asarray([label is not None for label in given])
    most = np.inf if classes is None else len(classes)
    wrong = np.flatnonzero(there & ((labels < 0) | (labels >= most)))
    if len(wrong):
        count = "" if classes is None else f"{len(classes)} classes of {CLASSES}"
        raise ValueError(
            f"labels must be those of the {count or 'classes'}, 0 and up, {len(wrong):,} of "
            f"{source.name} are others, such as {labels[wrong[0]]} of "
            f"{shown(source.key(int(wrong[0])))}; is {short(child(folder, CLASSES))} that of these "
            "data?"
        )
    return labels


def _truths(
    source: TarSource, beside: Sequence[Mapping[str, bytes]], classes: Sequence[str] | None
) -> np.ndarray:
    rows = read_each(source, beside, "npy", array)
    sizes = {row.shape for row in rows if row is not None}
    if len(sizes) != 1 or len(next(iter(sizes))) != 1:
        raise ValueError(
            f"{source.name} must hold an array of one length in every KEY.npy, got shapes "
            f"{sorted(sizes)[:5]}"
        )
    (size,) = sizes.pop()
    if classes is not None and len(classes) != size:
        raise ValueError(
            f"{source.name} must have as many classes in {CLASSES} as its arrays have, got "
            f"{len(classes)} and {size}"
        )
    missing = sum(row is None for row in rows)
    if missing:
        raise ValueError(f"{source.name} must hold KEY.npy of every picture, {missing:,} have none")
    return np.stack([row for row in rows if row is not None]) > 0


def _fields(
    source: TarSource, beside: Sequence[Mapping[str, bytes]], columns: Sequence[str]
) -> dict[str, list[str]]:
    """DataComp's metadata beside labels: the columns of KEY.npy, by name or by their number."""
    if not any("npy" in each for each in beside):
        if columns:
            raise ValueError(
                f"{source.name} must hold KEY.npy with {', '.join(columns)}, no sample has one"
            )
        return {}
    rows = read_each(source, beside, "npy", lambda data: array(data).reshape(-1))
    width = max(len(row) for row in rows if row is not None)
    if columns and width != len(columns):
        raise ValueError(
            f"{source.name} must hold {len(columns)} values in each KEY.npy, {', '.join(columns)}, "
            f"got {width}; name as many `columns` in the suite"
        )
    return {
        name: [str(row[place]) if row is not None and len(row) > place else "" for row in rows]
        for place, name in enumerate(columns or map(str, range(width)))
    }


def _number(data: bytes) -> int:
    label = int(data)
    if abs(label) >= 2**31:
        raise ValueError(f"a label must be below 2**31, got {label}")
    return label
