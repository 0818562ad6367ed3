"""The classes among which images are classified: their labels in data, their names in prompts."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from vlp.evals.text_files import read_json, read_lines

# Labels whose words say nothing of a picture: numbers, yes and no, and WordNet's ids.
_NO_WORDS = re.compile(r"[\W\d_]*|true|false|n\d{8}", re.IGNORECASE)


@dataclass(frozen=True)
class Classes:
    """The candidates of a classification.

    Attributes:
      names: What prompts say, in order, all different.
      place: Where in `names` the class of each label is.
      notes: Sentences on what they are, for a reader of the scores.
    """

    names: tuple[str, ...]
    place: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def without_words(self) -> bool:
        """Whether the names are numbers or ids, so that prompts make no sense."""
        return all(_NO_WORDS.fullmatch(name) for name in self.names)


def find_classes(labels: Sequence[str | None], path: str = "") -> Classes:
    """The classes of labelled images.

    Args:
      labels: Of the images, as the data have them; None where there is none.
      path: The file that names the classes, see `read_classes`; "" for those that occur.

    Raises:
      ValueError: See `read_classes`; or a label is none of the file's classes, or could be two.
    """
    occurring = {label for label in labels if label is not None}
    return _given(path, occurring) if path else _found(occurring)


def read_classes(path: str) -> dict[str, str]:
    """The names of classes by their labels.

    Args:
      path: A UTF-8 file with one name a line, whose label is the line's number from 0, as
        CLIP_benchmark's classnames.txt; or JSON: a list of names likewise, or an object from
        labels to names.

    Raises:
      ValueError: There is no such file, it has fewer than two classes, or a name is missing.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(
            f"classes must be a file with one name a line, or JSON, got {path!r}, which is none"
        )
    if file.suffix.lower() == ".json":
        found = read_json(file)
        named = dict(enumerate(found)) if isinstance(found, list) else found
    else:
        lines = read_lines(file)
        while lines and not lines[-1]:
            lines.pop()
        named = dict(enumerate(lines))
    if not isinstance(named, dict) or len(named) < 2:
        raise ValueError(f"{path} must name at least two classes; one a line, or a list as JSON")
    for label, name in named.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f"{path}: class {label} must have a name, got {str(name)[:80]!r}; write one a "
                "line, or an object from labels to names as JSON"
            )
    return {str(label): name.strip() for label, name in named.items()}


def _found(labels: Set[str]) -> Classes:
    """The labels that occur, as classes of that name."""
    names = tuple(sorted(labels, key=_natural))
    note = (
        f"the classes are the {len(names):,} labels found in these data; name all there are by "
        "classes (--classes=FILE), or scores of a part of the data are too high"
    )
    return Classes(names, {name: i for i, name in enumerate(names)}, (note,))


def _given(path: str, labels: Set[str]) -> Classes:
    """The classes that a file names, with the labels that occur.

    A label is found by its key in the file, by its number, or by a class's name. Labels whose
    classes have one name are one class: no prompt could tell them apart.
    """
    named = read_classes(path)
    names = tuple(dict.fromkeys(named.values()))
    places = {name: place for place, name in enumerate(names)}
    place = {label: places[_name(label, named, places, path)] for label in labels}
    notes = [f"{len(set(place.values())):,} of the {len(names):,} classes of {path} occur"]
    if len(names) < len(named):
        (twice, _), *_ = Counter(named.values()).most_common(1)
        notes.append(
            f"{len(named):,} labels have {len(names):,} names, such as {twice!r} more than once: "
            "those of one name are one class"
        )
    return Classes(names, place, tuple(notes))


def _name(label: str, named: Mapping[str, str], names: Collection[str], path: str) -> str:
    """The name of a label's class."""
    found = {named[key] for key in _keys(label) if key in named}
    found |= {label} if label in names else set()
    if not found:
        example = ", ".join(f"{key}: {name}" for key, name in list(named.items())[:3])
        raise ValueError(
            f"every label must be one of the {len(named)} classes of {path} ({example}, ...), got "
            f"{label!r}; add it there, or leave the classes out to take the labels that occur"
        )
    if len(found) > 1:
        raise ValueError(
            f"label {label!r} is {' as well as '.join(sorted(found))} by {path}; write the classes "
            "as a JSON object from labels to names"
        )
    return found.pop()


def _keys(label: str) -> set[str]:
    """How a file may call a label: false may be the class 0, and 007 the class 7."""
    if label in ("False", "True"):
        return {label, label.lower(), str(int(label == "True"))}
    return {label, str(int(label))} if _is_number(label) else {label}


def _natural(label: str) -> tuple[bool, int, str]:
    """Numbers in their order, before words."""
    number = _is_number(label)
    return (not number, int(label) if number else 0, label)


def _is_number(label: str) -> bool:
    return label.isdecimal() and len(label) < 20
