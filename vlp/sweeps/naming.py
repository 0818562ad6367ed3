"""How the classes of a set are called, and what is said of them: where the entry says it."""

from pathlib import Path
from typing import Any

from vlp.evals.prompts import templates
from vlp.evals.text_files import read_json
from vlp.sweeps.classes import class_set
from vlp.sweeps.entry import Entry
from vlp.sweeps.sets import EvalSet


def named(entry: Entry, found: EvalSet) -> dict[str, Any]:
    """The attributes of a set that its entry says otherwise, or that the set lacks.

    Args:
        entry: the line of the suite.
        found: the set as its layout has it.

    Raises:
        ValueError: a file of names or of prompts is none, or says too little.
    """
    if found.labels is None and found.masks is None:
        return {}
    changed: dict[str, Any] = {}
    names = entry.classes or ("" if found.class_names else entry.default_classes)
    if names:
        classes = class_set(names)
        _check_enough(entry, found, len(classes.names))
        changed |= dict(class_names=classes.names, aliases=classes.aliases)
    given = entry.templates or ("" if found.templates or found.prompts else entry.default_templates)
    if given:
        changed |= _prompts(entry, given, changed.get("class_names", found.class_names))
    return changed


def _check_enough(entry: Entry, found: EvalSet, count: int) -> None:
    labels, wanted = found.labels, len(found.class_names)
    if labels is not None:
        wanted = max(wanted, labels.shape[1] if labels.ndim == 2 else labels.max(initial=-1) + 1)
    if count < wanted:
        raise ValueError(
            f"{entry.classes or entry.default_classes} must name all {wanted:,} classes of "
            f"{entry.name}, got {count:,}"
        )


def _prompts(entry: Entry, given: str, names: Any) -> dict[str, Any]:
    """Templates, or the prompts of each class where a JSON object gives them by class."""
    path = Path(given)
    table = read_json(path) if path.is_file() and path.suffix.lower() == ".json" else None
    found = table
    if isinstance(table, dict):  # CLIP_benchmark's files have several sets in one
        found = table.get(entry.published) or table.get(entry.name) or table
    if isinstance(found, list) and found is not table and _are_texts(found):
        return dict(templates=tuple(found), prompts=())
    if not isinstance(found, dict):
        return dict(templates=templates(given), prompts=())
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"{given} must have prompts for each of the {len(names):,} classes of {entry.name}, "
            f"{len(missing):,} have none, such as {missing[0]!r}"
        )
    prompts = [found[name] for name in names]
    wrong = next((n for n, own in zip(names, prompts, strict=True) if not _are_texts(own)), None)
    if wrong is not None:
        raise ValueError(
            f"{given}: {wrong!r} must have a list of prompts, got {found[wrong]!r:.80}"
        )
    return dict(prompts=tuple(map(tuple, prompts)), templates=())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
