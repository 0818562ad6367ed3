"""Image-text pairs from a classification data set: captions made of its labels."""

import dataclasses
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.faults import Reject, shown
from data_pipelines.sources.base import Source
from data_pipelines.sources.drawn import Drawn
from data_pipelines.sources.survey import Survey
from data_pipelines.sources.within import Within
from data_pipelines.text import clean_caption

# So many samples are looked at for a label before a source is refused.
_LOOKED_AT = 16
_LONGEST_NUMBER = 19
_QUOTED = re.compile(r'\A"\s*([^"]*?)\s*"\Z')
_WHOLE = re.compile(r"\A(-?[0-9]+)\.0+\Z")  # as tables write whole numbers beside empty cells


def label_name(value: Any) -> str:
    """The name of one label as it stands in data, blanks at its ends left out; "" for none.

    Every value that is there is a label: 0 is "0", False is "False", 2.0 is "2", written as a
    number or as a text; a text is Unicode's NFC, without the quotes that JSON or a table put
    around it.

    Args:
      value: a string, a whole number, true or false; None for no label.

    Raises:
      ValueError: a fraction, several lines, or something made of several values.

    Examples:
      >>> label_name(0), label_name(False), label_name(" cat "), label_name(None), label_name("3.0")
      ('0', 'False', 'cat', '', '3')
    """
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    name = _QUOTED.sub(r"\1", unicodedata.normalize("NFC", str(value)).strip())
    if isinstance(value, str | int) and "\n" not in name:
        return _WHOLE.sub(r"\1", name)
    raise ValueError(f"a label is a name, a whole number, true or false, got {value!r}")


def label_names(value: Any) -> list[str]:
    """The names of a label or of a list of them, without what is no label.

    Raises:
      ValueError: see `label_name`.
    """
    names = [label_name(one) for one in (value if isinstance(value, list) else [value])]
    return [name for name in names if name]


def parse_class(text: bytes) -> int | str:
    """What a .cls file says: a whole number, or the text without the blanks around it.

    Raises:
      Reject: not UTF-8, or with NUL.
    """
    try:
        word = text.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise Reject("metadata invalid", str(error)) from error
    if "\0" in word:
        raise Reject("metadata invalid", f"a class holds no NUL, as UTF-16 does, got {word[:40]!r}")
    return int(word) if _is_number(word) and len(word) < _LONGEST_NUMBER else word


class LabelCaptions(Drawn):
    """What an image's labels say: one caption a template, with the names in their own order.

    Args:
      names: at least one.
      templates: at least one, each with one `{}` where the names go, separated by commas.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]

    def __new__(cls, names: Sequence[str], templates: Sequence[str]) -> "LabelCaptions":
        captions = super().__new__(cls, (_filled(template, names) for template in templates))
        captions.names, captions.templates = tuple(names), tuple(templates)
        return captions

    def draw(self, rng: np.random.Generator) -> str:
        """One caption: a template and an order of the names, each as likely as any other."""
        return self._drawn(self.templates[rng.integers(len(self.templates))], rng)

    def several(self, rng: np.random.Generator, count: int) -> tuple[str, ...]:
        """Templates without one twice, each with an order of the names."""
        places = rng.permutation(len(self.templates))[:count].tolist()
        return tuple(self._drawn(self.templates[place], rng) for place in places)

    def _drawn(self, template: str, rng: np.random.Generator) -> str:
        return _filled(template, [self.names[i] for i in rng.permutation(len(self.names))])


class LabelSource(Within):
    """The images of a source with captions made of their labels; its own captions are not read.

    In training a sample's caption is drawn anew in every epoch, see `LabelCaptions.draw`. Without
    the loader a sample has one caption a template.

    Args:
      source: the labelled images.
      field: of the samples' metadata, a label or a list of labels; "" if the captions of the source
        are the labels.
      templates: each with one `{}` where the names go.
      classes: the name of each label, which the data may have in its place; labels that are numbers
        need it, for a number is no caption. It may find a label by other spellings, and raise
        ValueError for one of several names.

    Raises:
      ValueError: there is no template, one has not exactly one `{}`, or no sample has a name.

    References:
      Yu et al., 2022 (CoCa), https://arxiv.org/abs/2205.01917, section 4.1: the names of an image's
      labels, shuffled and joined, with a prompt of CLIP's ("a photo of the cat, animal").
    """

    def __init__(
        self,
        source: Source,
        *,
        field: str,
        templates: Sequence[str],
        classes: Mapping[str, str] | None = None,
    ) -> None:
        for template in templates or ("",):
            if template.count("{}") != 1:
                raise ValueError(
                    "captions of labels need templates, each with one {} where the names go, got "
                    f"{template!r}; write for example: a photo of the {{}}"
                )
        self.source, self.field, self.templates = source, field, tuple(templates)
        self.classes = classes
        self.name, self.limits = f"{source.name} by its labels", source.limits
        self._check_names()

    @property
    def fingerprint(self) -> str:
        """That of the source, with what was made of it."""
        said = [json.dumps(dict(self.classes))] if self.classes is not None else []
        made = hashlib.sha256("\n".join([*self.templates, *said]).encode()).hexdigest()[:16]
        return f"{self.source.fingerprint}[labels: {self.field!r}, templates {made}]"

    def captions(self, index: int) -> LabelCaptions:
        """The captions by all templates."""
        return LabelCaptions(self._names(index), self.templates)

    def survey(self) -> tuple[Survey, ...]:
        """What the source holds; its captions are nobody's business here."""
        parts = self.source.survey()
        return tuple(
            dataclasses.replace(part, without_caption=None, caption_example="") for part in parts
        )

    def _names(self, index: int) -> list[str]:
        """The names of a sample's labels. Raises Reject if it has none."""
        value = self._value(index)
        try:
            labels = label_names(value)
            names = [name for name in map(self._named, labels) if name]
        except ValueError as error:
            raise Reject("label missing", str(error)) from error
        if not names or len(names) < len(labels):
            raise Reject("label missing", f"{self._where} must hold names, got {value!r}")
        return names

    def _named(self, label: str) -> str:
        """What a label is called in captions; "" where nobody knows."""
        if self.classes is None:
            # A number says nothing to a reader who does not know the classes.
            return "" if _is_number(label) or label in ("True", "False") else label
        try:
            return self.classes[label]
        except KeyError:
            return label if label in self.classes.values() else ""

    @property
    def _where(self) -> str:
        return f"the field {self.field!r}" if self.field else "the captions"

    def _value(self, index: int) -> Any:
        if self.field:
            return self.source.meta(index).get(self.field)
        limit = self.limits.caption_bytes
        return [clean_caption(text, max_bytes=limit) for text in self.source.captions(index)]

    def _check_names(self) -> None:
        """Raises ValueError where none of some samples from all over the source has a name."""
        values: list[Any] = []
        fields: set[str] = set()
        places = np.linspace(0, len(self) - 1, min(_LOOKED_AT, len(self))).astype(int).tolist()
        for index in places:
            try:
                fields |= set(self.source.meta(index) if self.field else ())
                values.append(self._value(index))
                self._names(index)
            except Reject:
                continue
            return
        raise ValueError(self._refusal(values, fields))

    def _refusal(self, values: list[Any], fields: set[str]) -> str:
        where = f"{self._where} of {self.source.name}"
        found = ", ".join(shown(str(value)) for value in values[:5] if value not in (None, "", []))
        if found and self.classes is not None:
            known = ", ".join([*self.classes][:5])
            return f"the classes must name the labels: {where} holds {found}, named are {known}..."
        if found:
            return (
                f"labels become captions by their names: {where} holds {found}; give names for "
                "them (config.data.label_classes), or write names in their place"
            )
        others = ", ".join(map(shown, sorted(fields))) or "none"
        return (
            f"labels must be somewhere in the samples: {where} holds none, and the fields are "
            f'{others}; name the field (config.data.label_field), or say "" if the captions are '
            "the names"
        )


def _is_number(word: str) -> bool:
    return word.isascii() and word.removeprefix("-").isdigit()


def _filled(template: str, names: Sequence[str]) -> str:
    # Not str.format: a template is data, and other braces in it are only characters.
    return template.replace("{}", ", ".join(names))
