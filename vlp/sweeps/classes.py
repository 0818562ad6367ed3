"""The classes of a set: their names, of which one may have several, and what labels mean."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlp.evals.classes import read_classes
from vlp.evals.known_names import known_classes, known_ids
from vlp.evals.text_files import read_json


@dataclass(frozen=True)
class ClassSet:
    """Classes in the order of their labels. Two may have one name, which no prompt tells apart.

    Attributes:
      names: the first one of each.
      aliases: all names of each with their weights; none where every class has one.
      ids: labels by another word for them, such as WordNet's ids.
    """

    names: Sequence[str]
    aliases: Sequence[Mapping[str, float]] = ()
    ids: Mapping[str, int] = field(default_factory=dict)


def class_set(given: str) -> ClassSet:
    """The classes that a name, or a file, stands for.

    Args:
      given: one of the field's sets ("imagenet1k", "imagenet-a"), or a file: a name a line, or
        JSON: an object from labels to names, or a list whose members are names, lists of names, or
        objects from names to weights.

    Raises:
      ValueError: see `vlp.evals.classes.read_classes`; or a class has no name, or a weight is not
        above 0.
    """
    path = Path(given)
    if not path.is_file() and given in known_classes():
        ids = {each: place for place, each in enumerate(known_ids(given))}
        return ClassSet(known_classes()[given], ids=ids)
    found = read_json(path) if path.is_file() and path.suffix.lower() == ".json" else None
    if isinstance(found, list) and any(not isinstance(each, str) for each in found):
        aliases = [_weighted(each, f"{given}, class {i}") for i, each in enumerate(found)]
        return ClassSet([next(iter(each)) for each in aliases], aliases)
    named = read_classes(given)
    labels = list(named)
    if all(label.isdecimal() for label in labels):
        labels.sort(key=int)
    ids = {label: place for place, label in enumerate(labels)}
    numbered = {str(place) for place in range(len(labels))} == set(labels)
    return ClassSet([named.get(label, "") for label in labels], ids={} if numbered else ids)


def place_labels(labels: Iterable[str], classes: ClassSet, *, where: str) -> dict[str, int]:
    """The class of every label that occurs: by its id, its number, its name, or its place.

    By their place in the order of the alphabet, as folders of classes are read, only where none of
    the labels is known otherwise and there are as many as classes.

    Args:
      labels: that occur.
      classes: among which they are.
      where: the data, for messages.

    Raises:
      ValueError: a label is none of the classes.
    """
    wanted = sorted(set(labels))
    by_name = {name: place for place, name in enumerate(classes.names)}
    k = len(classes.names)
    found: dict[str, int] = {}
    unknown = []
    for label in wanted:
        if label in classes.ids:
            found[label] = classes.ids[label]
        elif label.isdecimal() and int(label) < k:
            found[label] = int(label)
        elif label in by_name and classes.names.count(label) == 1:
            found[label] = by_name[label]
        else:
            unknown.append(label)
    if not found and len(wanted) == k:
        return {label: place for place, label in enumerate(wanted)}
    if unknown:
        raise ValueError(
            f"labels must be those of the {k:,} classes ({', '.join(classes.names[:3])}, ...), "
            f"{where} has {len(unknown):,} others, such as {unknown[0]!r}; is that the right list "
            "of classes, and is it whole?"
        )
    return found


def _weighted(each: Any, where: str) -> Mapping[str, float]:
    """The names of a class with their weights."""
    names = {each: 1.0} if isinstance(each, str) else each
    if isinstance(names, list):
        names = dict.fromkeys(names, 1.0) if all(isinstance(n, str) for n in names) else {}
    good = isinstance(names, dict) and names and all(name.strip() for name in names)
    weights = list(names.values()) if good else []
    if not good or not all(isinstance(w, int | float) and 0 < w < 1e9 for w in weights):
        raise ValueError(
            f"{where}: a class is a name, a list of names or an object from names to weights above "
            f"0, got {str(each)[:80]}"
        )
    return {name: float(weight) for name, weight in names.items()}
