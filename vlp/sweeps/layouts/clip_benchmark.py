"""Sets as CLIP_benchmark's `clip_benchmark_export_wds` writes them, which DataComp's are, too.

    classnames.txt                              a class a line
    zeroshot_classification_templates.txt       a template a line, {c} for the name
    dataset_type.txt                            retrieval or multilabel; else classification
    test/nshards.txt                            how many tars there are
    test/0.tar, test/1.tar, ...                 KEY.webp with KEY.cls, KEY.npy or KEY.txt

References:
    https://github.com/LAION-AI/CLIP_benchmark, datasets/builder.py, build_wds_dataset.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from data_pipelines.faults import shown
from data_pipelines.io import child, exists, listing
from data_pipelines.limits import Limits
from data_pipelines.sources.annotations import read_annotations
from data_pipelines.sources.tar import TarSource
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.texts import check_templates, lines_of, read_text, short

T = TypeVar("T")
CLASSES, TEMPLATES = "classnames.txt", "zeroshot_classification_templates.txt"
_KIND, _COUNT = "dataset_type.txt", "nshards.txt"
RETRIEVAL, MULTILABEL, CLASSIFICATION = "retrieval", "multilabel", "classification"
_KINDS = (RETRIEVAL, MULTILABEL, CLASSIFICATION)


def is_here(folder: str, split: str) -> bool:
    """Whether a folder has this layout."""
    return exists(child(child(folder, split), _COUNT)) or exists(child(folder, CLASSES))


def open_set(name: str, folder: str, *, split: str, limits: Limits) -> EvalSet:
    """The set in a folder.

    Args:
        name: as rows call it.
        folder: its root, here or in a store.
        split: a folder in it.
        limits: how large samples may be.

    Raises:
        ValueError: shards are missing, a label is none of the classes, or what else is half there.
    """
    tars, notes = _tars(folder, split)
    source = TarSource(tars, name=name, limits=limits)
    found: dict[str, Mapping[str, bytes]] = {}
    for tar in tars:
        found |= read_annotations(tar, suffixes=("cls", "npy", "txt"))
    beside = [found.get(source.key(index), {}) for index in range(len(source))]
    kind = _kind(folder)
    if kind == RETRIEVAL:
        return _captioned(source, beside, notes)
    classes, templates = lines_of(child(folder, CLASSES)), lines_of(child(folder, TEMPLATES))
    if templates is not None:
        notes += check_templates(templates, where=short(child(folder, TEMPLATES)))
    common: dict[str, Any] = dict(class_names=classes or (), templates=templates or ())
    if kind == MULTILABEL:
        truths = _truths(source, beside, classes)
        return EvalSet(name, source, labels=truths, notes=notes, **common)
    labels = _labels(source, beside, classes, folder)
    groups, more = _fields(source, beside)
    return EvalSet(name, source, labels=labels, groups=groups, notes=notes + more, **common)


def _tars(folder: str, split: str) -> tuple[list[str], list[str]]:
    inside = child(folder, split)
    there = [file for file in listing(inside) if file.endswith(".tar")]
    if not exists(child(inside, _COUNT)):
        if not there:
            raise ValueError(
                f"{short(inside)} must hold tars and {_COUNT}, it holds neither; is {split!r} the "
                "right split?"
            )
        note = f"{short(inside)} has no {_COUNT}: its {len(there)} tars are taken for all"
        return sorted(there, key=lambda file: (len(file), file)), [note]
    text = read_text(child(inside, _COUNT)).strip()
    if not text.isdecimal() or not int(text):
        raise ValueError(f"{short(inside)}/{_COUNT} must be a number from 1 on, got {text[:40]!r}")
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
    source: TarSource, beside: Sequence[Mapping[str, bytes]], notes: list[str]
) -> EvalSet:
    texts: list[str] = []
    of: list[int] = []
    missing, decoded = 0, _each(source, beside, "txt", lambda data: data.decode("utf-8"))
    for index, text in enumerate(decoded):
        missing += text is None
        lines = (text or "").splitlines()  # which cuts at U+2028 and others, too
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
) -> np.ndarray:
    given = _each(source, beside, "cls", lambda data: int(data))
    labels = np.asarray([-1 if label is None else label for label in given], np.int64)
    if not (labels >= 0).any():
        raise ValueError(
            f"{source.name} must hold labels in KEY.cls, of {len(labels):,} samples none has one"
        )
    for index in np.flatnonzero([label is not None for label in given]).tolist():
        if labels[index] < 0 or classes is not None and labels[index] >= len(classes):
            count = "" if classes is None else f"{len(classes)} classes of {CLASSES}"
            raise ValueError(
                f"labels must be those of the {count or 'classes'}, 0 and up, "
                f"{shown(source.key(index))} of {source.name} has {labels[index]}; is "
                f"{short(child(folder, CLASSES))} that of these data?"
            )
    return labels


def _truths(
    source: TarSource, beside: Sequence[Mapping[str, bytes]], classes: Sequence[str] | None
) -> np.ndarray:
    rows = _each(source, beside, "npy", _array)
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
    source: TarSource, beside: Sequence[Mapping[str, bytes]]
) -> tuple[dict[str, list[str]], list[str]]:
    """DataComp's metadata beside labels: the columns of KEY.npy, by their number."""
    if not any("npy" in each for each in beside):
        return {}, []
    rows = _each(source, beside, "npy", _array)
    width = max(row.size for row in rows if row is not None)
    columns = {
        str(column): [
            str(row.reshape(-1)[column]) if row is not None and row.size > column else ""
            for row in rows
        ]
        for column in range(width)
    }
    return columns, []


def _array(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)


def _each(
    source: TarSource,
    beside: Sequence[Mapping[str, bytes]],
    suffix: str,
    read: Callable[[bytes], T],
) -> list[T | None]:
    """What a member of every sample says; None where it has none.

    Raises:
        ValueError: one says nothing that can be read; names it.
    """
    found: list[T | None] = []
    for index, members in enumerate(beside):
        try:
            found.append(read(members[suffix]) if suffix in members else None)
        except (ValueError, EOFError) as error:
            raise ValueError(
                f"{source.key(index)}.{suffix} of {source.name} cannot be read: {error}"
            ) from error
    return found
