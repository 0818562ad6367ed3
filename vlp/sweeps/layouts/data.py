"""Sets that are ordinary data of vlp: tars, tables, folders by class, TFDS, parquet."""

import numpy as np

from data_pipelines.evaluation import eval_captions
from data_pipelines.faults import summary
from data_pipelines.limits import Limits
from data_pipelines.opening import open_source
from data_pipelines.sources import Source
from vlp.evals.classes import find_classes
from vlp.jobs.labels import read_labels
from vlp.sweeps.entry import Entry
from vlp.sweeps.sets import EvalSet

CAPTIONED = ("retrieval", "matching", "captioning")  # tasks that compare with captions


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
        found |= _captions(source, entry.captions, notes)
    if tasks - set(CAPTIONED):
        found |= _labels(source, entry, notes)
    groups = {name: [v or "" for v in read_labels(source, name)] for name in entry.fields}
    return EvalSet(entry.name, source, groups=groups, notes=notes, **found)


def _captions(source: Source, which: str, notes: list[str]) -> dict:
    captions = eval_captions(source, captions=which)
    if not captions.texts:
        raise ValueError(f"{source.name} must hold captions: {summary(captions.rejects)}")
    if captions.rejects:
        notes.append(f"captions left out: {summary(captions.rejects)}")
    return dict(texts=captions.texts, picture_of_text=captions.ids)


def _labels(source: Source, entry: Entry, notes: list[str]) -> dict:
    labels = read_labels(source, entry.label)
    classes = find_classes(labels, entry.classes)
    notes += classes.notes
    places = [-1 if label is None else classes.place[label] for label in labels]
    missing = sum(label is None for label in labels)
    if missing:
        notes.append(f"{missing:,} pictures have no {entry.label!r}")
    return dict(labels=np.asarray(places, np.int64), class_names=classes.names)
