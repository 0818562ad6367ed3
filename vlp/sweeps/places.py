"""Where the sets of a suite lie, and what opens them."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from data_pipelines.io import child, is_address
from data_pipelines.limits import Limits
from data_pipelines.specs import EMOJI, SYNTHETIC, TFDS
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts import (
    captions,
    clip_benchmark,
    data,
    folders,
    masks,
    mmeb,
    objectnet,
    pairs,
    questions,
)
from vlp.sweeps.learning_parts import same_classes
from vlp.sweeps.naming import named
from vlp.sweeps.plan import Plan
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.subsets import drawn
from vlp.sweeps.tasks.table import learns

# Each knows whether a folder is of its kind, and opens it; looked through in this order.
LAYOUTS: Mapping[str, ModuleType] = {
    "masks": masks,  # its classnames.txt would be CLIP_benchmark's
    "clip_benchmark": clip_benchmark,
    "mmeb": mmeb,
    "pairs": pairs,
    "questions": questions,
    "captions": captions,
    "objectnet": objectnet,
    "folders": folders,
    "data": data,
}
_WITH_SPLITS = ("clip_benchmark", "folders")
_SPECS = (EMOJI, TFDS, SYNTHETIC)


class Missing(ValueError):
    """A set is not there."""


def find(entry: Entry, root: str) -> tuple[str, str]:
    """The layout of an entry's set, and its address.

    Looked for, below the root, are `data` and `also` of the entry, or its name and what
    CLIP_benchmark and DataComp call its folder: `wds_NAME_test`, `wds_NAME`, with `-` in place of
    `/`. A root may hold `{dataset}` or `{dataset_cleaned}`, as CLIP_benchmark's --dataset_root.

    Args:
        entry: the line of the suite.
        root: a folder, or an address in a store; "" for this folder.

    Raises:
        Missing: nothing is there; says where it was looked for, and how to get the set.
    """
    layouts = {entry.layout: LAYOUTS[entry.layout]} if entry.layout != "auto" else LAYOUTS
    if entry.data.startswith(_SPECS):
        return "data", entry.data
    places = list(_places(entry, root))
    for place in places:
        for name, layout in layouts.items():
            if layout.is_here(place, entry):
                return name, place
    if entry.tfds and data.is_prepared(entry.tfds):
        return "data", f"{TFDS}{entry.tfds}"
    needs = entry.needs or (entry.source and f"it comes from {entry.source}")
    shown = places if len(places) < 4 else [*places[:3], "others like them"]
    raise Missing(
        f"the set {entry.name} must be at {' or '.join(shown)}, it is not there"
        + (" in that layout" if entry.layout != "auto" else "")
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
    found = open_whole(entry, plan.root, limits=plan.limits)
    parts: dict[str, Any] = {} if found.train is None else {"train": _limited(found.train, plan)}
    return _limited(dataclasses.replace(found, **parts), plan)


def open_whole(entry: Entry, root: str, *, limits: Limits) -> EvalSet:
    """The set of an entry, with the names and prompts that the entry gives.

    Raises:
        ValueError: it is not there, or only half.
    """
    layout, place = find(entry, root)
    found = LAYOUTS[layout].open_set(entry, place, limits=limits)
    if entry.train and any(learns(task) for task in entry.tasks):
        train = _train(entry, found, layout, place, root, limits)
        found = dataclasses.replace(found, train=train)
    return dataclasses.replace(found, **named(entry, found))


def _limited(found: EvalSet, plan: Plan) -> EvalSet:
    return drawn(found, plan.limit, seed=plan.seed) if 0 < plan.limit < len(found) else found


def _train(
    entry: Entry, found: EvalSet, layout: str, place: str, root: str, limits: Limits
) -> EvalSet:
    """What probes learn from: another split of the folder, or other data with the same classes.

    Raises:
        ValueError: it is not there, or has nothing to learn.
    """
    own = dataclasses.replace(
        entry, name=f"{entry.name}, {entry.train}", tasks=("classification",), fields=(), columns=()
    )
    if layout in _WITH_SPLITS:
        own = dataclasses.replace(own, split=entry.train)
        train = LAYOUTS[layout].open_set(own, place, limits=limits)
    elif place.startswith(TFDS) and place.endswith("]") and entry.train.isalnum():
        train = data.open_set(own, f"{place.partition('[')[0]}[{entry.train}]", limits=limits)
    else:
        layout, place = find(dataclasses.replace(own, data=entry.train), root)
        train = LAYOUTS[layout].open_set(own, place, limits=limits)
    if layout != "clip_benchmark":
        train = same_classes(train, found)
    return dataclasses.replace(train, texts=(), picture_of_text=None)


def _places(entry: Entry, root: str) -> Iterator[str]:
    """Addresses where the set may lie, the likeliest first."""
    title = entry.published or entry.name
    clean = title.replace("/", "-")
    for field, value in (("{dataset}", title), ("{dataset_cleaned}", clean)):
        if field in root:
            yield root.replace(field, value)
            return
    if entry.data and (is_address(entry.data) or Path(entry.data).exists()):
        yield entry.data
        return
    usual = (entry.name, f"wds_{clean}_{entry.split}", f"wds_{clean}", clean)
    for name in dict.fromkeys((entry.data, *entry.also) if entry.data else (*usual, *entry.also)):
        yield child(root, name) if root else name
