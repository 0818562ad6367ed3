"""Sets that are ordinary data of vlp: tars, tables, TFDS, parquet, what `datasets` saved."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.evaluation import eval_captions
from data_pipelines.faults import Reject, summary
from data_pipelines.io import exists, is_address
from data_pipelines.limits import Limits
from data_pipelines.opening import open_source
from data_pipelines.sources import Source
from data_pipelines.sources.labels import label_names
from vlp.evals.classes import find_classes
from vlp.jobs.labels import fields_there, metadata, read_labels
from vlp.sweeps.classes import ClassSet, class_set, place_labels
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts.derived import DERIVED
from vlp.sweeps.sets import EvalSet

# Tasks of sets with questions of their own, or with masks: these lie in layouts of their own.
OWN_LAYOUTS = ("pairs", "candidates", "associations", "segmentation")
CAPTIONED = ("retrieval", "matching", "captioning")  # tasks that compare with captions
USUAL = ("cls", "label")  # fields that hold a label


def is_here(data: str, entry: Entry) -> bool:
    """Whether a path, a pattern of paths or an address names something; no set of questions."""
    if entry.tasks and set(entry.tasks) <= set(OWN_LAYOUTS):
        return False
    if is_address(data):
        return exists(data)
    path = Path(data)
    if path.is_dir():
        return any(path.iterdir())
    return path.is_file() or glob.has_magic(data) and any(glob.iglob(data, recursive=True))


def is_prepared(name: str) -> bool:
    """Whether TFDS has prepared a data set, of which a split is named in brackets."""
    home = os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets"
    folder = Path(home) / name.partition("[")[0].partition(":")[0]
    return folder.is_dir() and any(folder.rglob("features.json"))


def open_set(entry: Entry, data: str, *, limits: Limits) -> EvalSet:
    """The set that a data spec names: captions for retrieval, labels for classification.

    Args:
        entry: the line of the suite.
        data: what `data_pipelines.opening.open_source` takes.
        limits: how large samples may be.

    Raises:
        ValueError: the data cannot be read, or have not what the tasks of the entry ask for.
    """
    source = open_source(data, limits=limits)
    notes: list[str] = []
    found: dict = {}
    tasks = set(entry.tasks or CAPTIONED[:1])
    if tasks & set(CAPTIONED):
        found |= _captions(source, entry, notes)
    if tasks - {*CAPTIONED, *OWN_LAYOUTS}:
        found |= _labels(source, entry, notes)
    groups = {name: [v or "" for v in read_labels(source, name)] for name in entry.fields}
    return EvalSet(entry.name, source, groups=groups, notes=notes, **found)


def _captions(source: Source, entry: Entry, notes: list[str]) -> dict:
    which = "first" if entry.most_captions == 1 else "all"
    captions = eval_captions(source, captions=which)
    if not captions.texts:
        raise ValueError(f"{source.name} must hold captions: {summary(captions.rejects)}")
    if captions.rejects:
        notes.append(f"captions left out: {summary(captions.rejects)}")
    ids = captions.ids
    if entry.most_captions is None or not len(ids):
        return dict(texts=captions.texts, picture_of_text=ids)
    first = np.flatnonzero(np.diff(ids, prepend=-1))  # ids ascend
    number = np.arange(len(ids)) - np.repeat(first, np.diff([*first, len(ids)]))
    kept = np.flatnonzero(number < entry.most_captions)
    return dict(texts=[captions.texts[i] for i in kept], picture_of_text=ids[kept])


def _labels(source: Source, entry: Entry, notes: list[str]) -> dict:
    fields = (entry.label,) if entry.label else USUAL
    for field in fields:
        labels, several = _values(source, field)
        if any(labels):
            break
    else:
        raise ValueError(
            f"{' or '.join(fields)} must be a field of the samples, none of {len(source):,} of "
            f"{source.name} has one; {fields_there(source, range(len(source)))}; name one as "
            f"`label`, or {', '.join(DERIVED)}"
        )
    classes, place = _classes(source, entry, field, labels, notes)
    missing = sum(not own for own in labels)
    if missing:
        notes.append(f"{missing:,} pictures have no {field!r}")
    names = dict(class_names=classes.names, aliases=classes.aliases)
    if not several:
        places = [place[own[0]] if own else -1 for own in labels]
        return dict(labels=np.asarray(places, np.int64), **names)
    truths = np.zeros((len(labels), len(classes.names)), bool)
    for row, own in enumerate(labels):
        truths[row, [place[label] for label in own]] = True
    return dict(labels=truths, **names)


def _classes(
    source: Source, entry: Entry, field: str, labels: Sequence[Sequence[str]], notes: list[str]
) -> tuple[ClassSet, dict[str, int]]:
    """The classes, and which of them each label is."""
    flat = {label for own in labels for label in own}
    names = entry.classes or entry.default_classes
    known = _names_of(source, field)
    if names:
        classes = class_set(names)
        if known and classes.ids:  # numbers of another, larger list
            flat_ids = {label: known[int(label)] if label.isdecimal() else label for label in flat}
            place = place_labels(flat_ids.values(), classes, where=source.name)
            return classes, {label: place[own] for label, own in flat_ids.items()}
        if len(known) == len(classes.names):
            return classes, place_labels(flat, ClassSet(known), where=source.name)
        return classes, place_labels(flat, classes, where=source.name)
    if known:
        return ClassSet(known), place_labels(flat, ClassSet(known), where=source.name)
    found = find_classes(sorted(flat))
    notes += found.notes
    return ClassSet(found.names), dict(found.place)


def _names_of(source: Source, field: str) -> Sequence[str]:
    """The classes that a column of numbers stands for, where the data say it."""
    known: Any = getattr(source, "classes", None)
    return known.get(field.removesuffix("_name"), ()) if isinstance(known, dict) else ()


def _values(source: Source, field: str) -> tuple[list[list[str]], bool]:
    """The labels of each sample, and whether a sample has a list of them."""
    make = DERIVED.get(field)
    several = False
    found: list[list[str]] = []
    for index in range(len(source)):
        try:
            meta = metadata(source, index)
            value = make(meta) if make else _plain(meta.get(field))
            several |= isinstance(value, list)
            found.append(label_names(value))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(
                f"{field} needs the fields of its set, {source.key(index)} of {source.name} lacks "
                f"{error}"
            ) from error
        except Reject:
            found.append([])
        except ValueError as error:
            raise ValueError(f"{source.name}, {source.key(index)}, {field!r}: {error}") from error
    return found, several


def _plain(value: Any) -> Any:
    """A value as Python has it; TFDS's lists hold numpy's numbers."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value
