"""Where the sets of a suite lie, and what opens them."""

import dataclasses
from pathlib import Path

from data_pipelines.io import child, is_address
from data_pipelines.specs import EMOJI, TFDS
from vlp.evals.prompts import templates as named_templates
from vlp.evals.text_files import read_lines
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts import clip_benchmark, data
from vlp.sweeps.learning_parts import same_classes
from vlp.sweeps.plan import Plan
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.subsets import drawn
from vlp.sweeps.tasks.table import learns


class Missing(ValueError):
    """A set is not there."""


def find(entry: Entry, root: str) -> tuple[str, str]:
    """The layout of an entry's set, and its address.

    Looked for, below the root, are `data` of the entry, its name, and what CLIP_benchmark and
    DataComp call its folder: `wds_NAME_test`, `wds_NAME`, with `-` in place of `/`.

    Args:
        entry: the line of the suite.
        root: a folder, or an address in a store; "" for this folder.

    Raises:
        Missing: nothing is there; says where it was looked for, and how to get the set.
    """
    if entry.data.startswith((EMOJI, TFDS)) or is_address(entry.data) or _any(entry.data):
        return "data" if entry.layout == "auto" else entry.layout, entry.data
    places = [child(root, name) if root else name for name in _names(entry)]
    if entry.layout in ("auto", "clip_benchmark"):
        for place in places:
            if clip_benchmark.is_here(place, entry.split):
                return "clip_benchmark", place
    if entry.layout in ("auto", "data"):
        for place in places:
            if _any(place):
                return "data", place
    needs = entry.needs or (entry.source and f"it comes from {entry.source}")
    raise Missing(
        f"the set {entry.name} must be at {' or '.join(places)}, it is not there"
        + (f"; {needs}" if needs else "; give its folder as `data` in the suite, or another --data")
    )


def open_entry(entry: Entry, plan: Plan) -> EvalSet:
    """The set of an entry, or a part of it where the plan has a limit.

    Args:
        entry: the line of the suite.
        plan: of the sweep.

    Raises:
        ValueError: it is not there, or only half.
    """
    layout, place = find(entry, plan.root)
    if layout == "clip_benchmark":
        found = clip_benchmark.open_set(entry.name, place, split=entry.split, limits=plan.limits)
    else:
        found = data.open_set(entry, place, limits=plan.limits)
    if entry.train and any(learns(task) for task in entry.tasks):
        found = dataclasses.replace(found, train=_train(entry, found, layout, place, plan))
    if entry.classes and layout != "data":
        names = read_lines(Path(entry.classes))
        if len(names) < len(found.class_names):
            raise ValueError(
                f"{entry.classes} must name all {len(found.class_names)} classes of {entry.name}, "
                f"got {len(names)}"
            )
        found = dataclasses.replace(found, class_names=names)
    if entry.templates:
        found = dataclasses.replace(found, templates=named_templates(entry.templates))
    return _limited(found, plan)


def _limited(found: EvalSet, plan: Plan) -> EvalSet:
    return drawn(found, plan.limit, seed=plan.seed) if 0 < plan.limit < len(found) else found


def _train(entry: Entry, found: EvalSet, layout: str, place: str, plan: Plan) -> EvalSet:
    """What probes learn from: another split of the folder, or other data with the same classes.

    Raises:
        ValueError: it is not there, or has nothing to learn.
    """
    name = f"{entry.name}, {entry.train}"
    if layout == "clip_benchmark":
        train = clip_benchmark.open_set(name, place, split=entry.train, limits=plan.limits)
    else:
        labelled = dataclasses.replace(entry, name=name, tasks=("classification",), fields=())
        _, place = find(dataclasses.replace(labelled, data=entry.train), plan.root)
        train = data.open_set(labelled, place, limits=plan.limits)
        train = same_classes(train, found)
    return _limited(dataclasses.replace(train, texts=(), picture_of_text=None), plan)


def _names(entry: Entry) -> list[str]:
    if entry.data:
        return [entry.data]
    plain = (entry.published or entry.name).replace("/", "-")
    return list(dict.fromkeys((entry.name, f"wds_{plain}_{entry.split}", f"wds_{plain}", plain)))


def _any(data: str) -> bool:
    """Whether a path, or a pattern of paths, names something."""
    if not data or is_address(data):
        return bool(data)
    path = Path(data)
    return path.exists() or any(mark in data for mark in "*?[") and any(Path().glob(data))
