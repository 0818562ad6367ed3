"""The classes among which images are classified: their labels in data, their names in prompts."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vlp.evals.class_lines import named_lines
from vlp.evals.known_names import known_classes, known_ids
from vlp.evals.text_files import read_json, read_lines

# Labels whose words say nothing of a picture: numbers, yes and no, and WordNet's ids.
_NO_WORDS = re.compile(r"[\W\d_]*|true|false|n\d{8}", re.IGNORECASE)


_TRUTH = {"false": "0", "true": "1"}
_NOTHING = ("null", "none", "nan", "n/a", "na")


class ClassNames(dict[str, str]):
    """The names of classes by their labels; a label is also found by its other spellings.

    In brackets a label is a key, a number as the file writes it, or a class's name.

    Attributes:
      ids: labels by another word for them, such as WordNet's ids.

      >>> names = ClassNames({"0": "cat", "1": "dog"})
      >>> names["001"], names["False"], names["dog"]
      ('dog', 'cat', 'dog')
    """

    ids: Mapping[str, str] = {}

    def __getitem__(self, label: str) -> str:
        """The name of a label's class.

        Raises:
          KeyError: There is none.
          ValueError: There are several.
        """
        label = self.ids.get(label, label)
        found = {self.get(key, "") for key in _keys(label)} - {""}
        found |= {label} & self.names
        if len(found) > 1:
            raise ValueError(
                f"label {label!r} is {' as well as '.join(sorted(found))}; write the classes as a "
                "JSON object from labels to names"
            )
        if not found:
            raise KeyError(label)
        return found.pop()

    @cached_property
    def names(self) -> Set[str]:
        """All names."""
        return set(self.values())


@dataclass(frozen=True)
class Classes:
    """The candidates of a classification.

    Attributes:
      names: What prompts say, in order, all different.
      place: Where in `names` the class of each label is.
      notes: Sentences on what they are, for a reader of the scores.
      alike: One of them, on classes that may be one, to be said before the work; "" for none.
    """

    names: tuple[str, ...]
    place: Mapping[str, int]
    notes: tuple[str, ...] = ()
    alike: str = ""

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


def read_classes(path: str) -> ClassNames:
    """The names of classes by their labels.

    Args:
      path: A UTF-8 file with one name a line, whose label is the line's number from 0, as
        CLIP_benchmark's classnames.txt, or stands in front of it, see `named_lines`; or JSON: a
        list of names likewise, or an object from labels to names; or one of the field's sets
        ("imagenet1k", see `known_names`), whose labels are numbers or WordNet's ids.

    Raises:
      ValueError: There is no such file, it has fewer than two classes, a name is missing, or it
        could be a table of other labels.
    """
    file = Path(path)
    if not file.is_file() and path in known_classes():
        found = ClassNames({str(i): name for i, name in enumerate(known_classes()[path])})
        found.ids = {each: str(i) for i, each in enumerate(known_ids(path))}
        return found
    if not file.is_file():
        raise ValueError(
            f"classes must be a file with one name a line, or JSON, got {path!r}, which is none, "
            f"nor one of {', '.join(sorted(known_classes()))}"
        )
    if file.suffix.lower() == ".json":
        found = read_json(file)
        named = dict(enumerate(found)) if isinstance(found, list) else found
    else:
        named = named_lines(read_lines(file), path, table=file.suffix.lower() in (".csv", ".tsv"))
    if not isinstance(named, dict) or len(named) < 2:
        raise ValueError(f"{path} must name at least two classes; one a line, or a list as JSON")
    for label, name in named.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f"{path}: class {label} must have a name, got {str(name)[:80]!r}; write one a "
                "line, or an object from labels to names as JSON"
            )
    return ClassNames({_one(str(label)): _one(name.strip()) for label, name in named.items()})


def _found(labels: Set[str]) -> Classes:
    """The labels that occur, as classes of that name."""
    names = tuple(sorted(labels, key=_natural))
    alike = _alike(names)
    note = (
        f"the classes are the {len(names):,} labels found in these data; name all there are by "
        "classes (--classes=FILE), or scores of a part of the data are too high"
    )
    place = {name: i for i, name in enumerate(names)}
    return Classes(names, place, (note, *filter(None, [alike])), alike)


def _given(path: str, labels: Set[str]) -> Classes:
    """The classes that a file names, with the labels that occur.

    Labels whose classes have one name are one class: no prompt could tell them apart.
    """
    named = read_classes(path)
    names = tuple(dict.fromkeys(named.values()))
    places = {name: place for place, name in enumerate(names)}
    place = {label: places[_name(label, named, path)] for label in labels}
    notes = [f"{len(set(place.values())):,} of the {len(names):,} classes of {path} occur"]
    if len(names) < len(named):
        (twice, _), *_ = Counter(named.values()).most_common(1)
        notes.append(
            f"{len(named):,} labels have {len(names):,} names, such as {twice!r} more than once: "
            "those of one name are one class"
        )
    alike = _alike(names)
    return Classes(names, place, (*notes, *filter(None, [alike])), alike)


def _name(label: str, named: ClassNames, path: str) -> str:
    """The name of a label's class."""
    try:
        return named[label]
    except KeyError as error:
        example = ", ".join(f"{key}: {name}" for key, name in list(named.items())[:3])
        raise ValueError(
            f"every label must be one of the {len(named)} classes of {path} ({example}, ...), got "
            f"{label!r}; add it there, or leave the classes out to take the labels that occur"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _one(text: str) -> str:
    """The one of the spellings of a text in Unicode that labels in data have."""
    return unicodedata.normalize("NFC", text)


def _keys(label: str) -> set[str]:
    """How a file may call a label: false may be the class 0, and 007 the class 7."""
    if label.lower() in _TRUTH:
        return {label, label.lower(), label.capitalize(), _TRUTH[label.lower()]}
    return {label, str(int(label))} if _is_number(label) else {label}


def _alike(names: Sequence[str]) -> str:
    """A sentence on classes that may be one, or none at all; "" where there are no such."""
    groups: dict[str, list[str]] = {}
    for name in names:
        plain = " ".join(re.split(r"[\s_]+", name.casefold().strip("'\"")))
        plain = str(int(plain)) if _is_number(plain) else _TRUTH.get(plain, plain)
        groups.setdefault(plain, []).append(name)
    several = [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
    nothing = [repr(name) for name in names if name.lower() in _NOTHING]
    said = []
    if several:
        said.append(f"classes may be one in several spellings: {'; '.join(several[:5])}")
    if nothing:
        said.append(f"{', '.join(nothing)} may stand for no label, and counts as a class")
    return "; ".join(said)


def _natural(label: str) -> tuple[bool, int, str]:
    """Numbers in their order, before words."""
    number = _is_number(label)
    return (not number, int(label) if number else 0, label)


def _is_number(label: str) -> bool:
    return label.isdecimal() and len(label) < 20
