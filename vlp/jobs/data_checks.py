"""Whether a task can be done on a data set at all, before anything is embedded."""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from data_pipelines.evaluation import sample_pixels
from data_pipelines.faults import Reject, summary
from data_pipelines.sound import decode_sound
from data_pipelines.sources import Source
from data_pipelines.text import clean_caption
from vlp.evals import prompts
from vlp.evals.classes import find_classes
from vlp.evals.classification import check_prompts
from vlp.jobs.labels import fields_there, read_labels

_LOOKED_AT = 64  # first, spread over the data: what is wrong is often wrong in a stretch
_log = logging.getLogger("vlp")


def check_data(
    task: str,
    *,
    source: Source,
    settings: Mapping[str, Any],
    tokenize: Callable[[list[str]], np.ndarray] | None = None,
) -> None:
    """Refuses data on which a task cannot be done; reads all labels, and of the rest a little.

    Args:
        task: a key of `vlp.jobs.tasks.TASKS`.
        source: the data.
        settings: of the task, checked by `vlp.jobs.tasks.check_task`.
        tokenize: of the model, where it is there already; prompts are checked by it.

    Raises:
        ValueError: no image can be read, a task that reads captions finds none, a field that is to
            be read is in no sample, the classes are not those of the labels, or prompts do not tell
            them apart.
    """
    modalities = settings.get("between", "image-text").split("-")
    if "image" in modalities:
        check_images(source, task)
    if "audio" in modalities:
        check_sounds(source, task)
    if task == "classification":
        _check_classes(source, settings, tokenize)
        return
    if "text" in modalities:
        check_captions(source, task)
    if settings.get("group"):
        read_labels(source, settings["group"])


def check_images(source: Source, what: str) -> None:
    """Raises ValueError where a source has no image that can be read, for `what` needs them."""
    problem = f"{what} needs images that can be read, {source.name} has none"
    _check_any(source, lambda index: sample_pixels(source, index), problem)


def check_sounds(source: Source, what: str) -> None:
    """Raises ValueError where a source has no sound that can be read, for `what` needs them."""
    problem = f"{what} needs sounds that can be read, {source.name} has none"
    limit = source.limits.audio_seconds
    _check_any(source, lambda i: decode_sound(source.audio(i), max_seconds=limit), problem)


def check_captions(source: Source, what: str) -> None:
    """Raises ValueError where a source has no usable caption, for `what` needs them."""
    _check_any(
        source,
        lambda index: clean_caption(
            source.captions(index)[0], max_bytes=source.limits.caption_bytes
        ),
        f"{what} needs captions, {source.name} has none",
        "; write KEY.txt in a tar, NAME.txt beside a picture, or a captions.csv with the columns "
        "image and caption; classification needs none, but labels: "
        f"{fields_there(source, _spread(source))}",
    )


def _check_any(source: Source, read: Callable[[int], Any], problem: str, remedy: str = "") -> None:
    """Raises ValueError where no sample can be read; stops at the first that can."""
    rejects: dict[int, str] = {}
    for index in itertools.chain(_spread(source), range(len(source))):
        try:
            read(index)
            return
        except Reject as fault:
            rejects[index] = fault.reason
    reasons = summary(Counter(rejects.values()))
    raise ValueError(f"{problem}: of {len(source):,} samples {reasons}{remedy}")


def _spread(source: Source) -> list[int]:
    places = np.linspace(0, len(source) - 1, min(_LOOKED_AT, len(source)))
    return np.unique(places.astype(int)).tolist()


def _check_classes(
    source: Source,
    settings: Mapping[str, Any],
    tokenize: Callable[[list[str]], np.ndarray] | None,
) -> None:
    templates = prompts.templates(settings.get("templates", "simple"))
    labels = read_labels(source, settings.get("label", "cls"))
    classes = find_classes(labels, settings.get("classes", ""))
    if tokenize:
        check_prompts(classes.names, templates, tokenize)
    if classes.alike:
        _log.warning("%s: %s", source.name, classes.alike)
    if classes.without_words:
        _log.warning(
            "%s: prompts will say labels such as %r, which say nothing of a picture; give the "
            "classes' names by classes (--classes=FILE, one name a line, the line's number from 0 "
            "is the label)",
            source.name,
            classes.names[0],
        )


def check_whole(source: Source, *, accept_changes: bool) -> None:
    """Refuses data of which files are gone that were indexed, unless that is accepted.

    Args:
        source: the data.
        accept_changes: go on; the samples of these files keep their places and count as bad.

    Raises:
        ValueError: files are gone.
    """
    gone = [name for part in source.survey() for name in part.gone]
    if gone and not accept_changes:
        raise ValueError(
            f"{len(gone):,} of the data's files are gone, such as {gone[0]}; pass "
            "--accept-data-changes to go on in the same order with their samples as bad ones, or "
            "run `vlp data index` on the others to forget them, which makes other data of them"
        )
