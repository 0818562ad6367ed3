"""Whether a task can be done on a data set at all, seen at some of its samples."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from data_pipelines.evaluation import sample_pixels
from data_pipelines.faults import Reject, summary
from data_pipelines.sources import Source
from data_pipelines.text import clean_caption
from vlp.cli.labels import fields_there, read_labels
from vlp.evals import prompts
from vlp.evals.classes import find_classes

_LOOKED_AT = 256  # spread over the data: those of one class often stand together
_DECODED = 16
_log = logging.getLogger("vlp")


def check_data(task: str, *, source: Source, settings: Mapping[str, Any]) -> None:
    """Refuses data on which a task cannot be done; looks at some samples, embeds nothing.

    Args:
        task: a key of `vlp.cli.tasks.TASKS`.
        source: the data.
        settings: of the task, checked by `vlp.cli.tasks.check_task`.

    Raises:
        ValueError: no image can be read, a task that reads captions finds none, or a field that
            is to be read is in no sample.
    """
    if not len(source):
        raise ValueError(f"{task} needs samples, {source.name} has none")
    looked_at = np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).astype(int)).tolist()
    _check_some(
        lambda index: sample_pixels(source, index),
        looked_at[:: -(-len(looked_at) // _DECODED)],
        f"{task} needs images that can be read, {source.name} has none",
    )
    if task == "classification":
        _check_classes(source, looked_at, settings)
        return
    _check_some(
        lambda index: clean_caption(source.captions(index)[0]),
        looked_at,
        f"{task} needs captions, {source.name} has none",
        remedy=f"; write them into KEY.txt, or give --task=classification a label, "
        f"{fields_there(source, looked_at)}",
    )
    if settings.get("group"):
        read_labels(source, settings["group"], of=looked_at)


def _check_some(
    read: Callable[[int], Any], indices: list[int], problem: str, *, remedy: str = ""
) -> None:
    """Raises ValueError where none of these samples can be read."""
    rejects: Counter[str] = Counter()
    for index in indices:
        try:
            read(index)
            return
        except Reject as fault:
            rejects[fault.reason] += 1
    raise ValueError(f"{problem}: of {len(indices)} looked at, {summary(rejects)}{remedy}")


def _check_classes(source: Source, looked_at: list[int], settings: Mapping[str, Any]) -> None:
    labels = read_labels(source, settings.get("label", "cls"), of=looked_at)
    prompts.templates(settings.get("templates", "simple"))
    classes = find_classes(labels, settings.get("classes", ""))
    if classes.without_words:
        _log.warning(
            "%s: prompts will say labels such as %r, which say nothing of a picture; give the "
            "classes' names by classes (--classes=FILE, one name a line, the line's number from 0 "
            "is the label)",
            source.name,
            classes.names[0],
        )
