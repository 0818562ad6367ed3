"""Image-text pairs from a classification data set: captions made of its labels."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.faults import Reject
from data_pipelines.sources.base import Sample, Source, whole_sample
from data_pipelines.text import clean_caption

# So many samples are looked at for a label before a source is refused.
_LOOKED_AT = 16


def label_name(value: Any) -> str:
    """The name of one label as it stands in data, blanks at its ends left out; "" for none.

    Every value that is there is a label: 0 is "0", False is "False", 2.0 is "2".

    Args:
      value: a string, a whole number, true or false; None for no label.

    Raises:
      ValueError: a fraction, or something made of several values.

    Examples:
      >>> label_name(0), label_name(False), label_name(" cat "), label_name(None)
      ('0', 'False', 'cat', '')
    """
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str | int):
        return str(value).strip()
    raise ValueError(f"a label is a name, a whole number, true or false, got {value!r}")


def label_names(value: Any) -> list[str]:
    """The names of a label or of a list of them, without what is no label.

    Raises:
      ValueError: see `label_name`.
    """
    names = [label_name(one) for one in (value if isinstance(value, list) else [value])]
    return [name for name in names if name]


class LabelCaptions(tuple[str, ...]):
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
        template = self.templates[rng.integers(len(self.templates))]
        return _filled(template, [self.names[i] for i in rng.permutation(len(self.names))])


class LabelSource:
    """The images of a source with captions made of their labels; its own captions are not read.

    In training a sample's caption is drawn anew in every epoch, see `LabelCaptions.draw`. Without
    the loader a sample has one caption a template.

    Args:
      source: the labelled images.
      field: of the samples' metadata, a name or a list of names; "" if the names are the captions
        of the source.
      templates: each with one `{}` where the names go.

    Raises:
      ValueError: there is no template, one has not exactly one `{}`, or no sample has the field.

    References:
      Yu et al., 2022 (CoCa), https://arxiv.org/abs/2205.01917, section 4.1: the names of an image's
      labels, shuffled and joined, with a prompt of CLIP's ("a photo of the cat, animal").
    """

    def __init__(self, source: Source, *, field: str, templates: Sequence[str]) -> None:
        for template in templates or ("",):
            if template.count("{}") != 1:
                raise ValueError(
                    "captions of labels need templates, each with one {} where the names go, got "
                    f"{template!r}; write for example: a photo of the {{}}"
                )
        self.source, self.field, self.templates = source, field, tuple(templates)
        self.name = f"{source.name} by its labels"
        if field:
            self._check_field()

    @property
    def fingerprint(self) -> str:
        """That of the source, with what was made of it."""
        made = hashlib.sha256("\n".join(self.templates).encode()).hexdigest()[:16]
        return f"{self.source.fingerprint}[labels: {self.field!r}, templates {made}]"

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        return whole_sample(self, index)

    def key(self, index: int) -> str:
        """The image's name."""
        return self.source.key(index)

    def image(self, index: int) -> bytes:
        """The image file."""
        return self.source.image(index)

    def meta(self, index: int) -> Mapping[str, Any]:
        """What the source knows beside the image."""
        return self.source.meta(index)

    def captions(self, index: int) -> LabelCaptions:
        """The captions by all templates."""
        return LabelCaptions(self._names(index), self.templates)

    def _names(self, index: int) -> list[str]:
        if not self.field:
            return [clean_caption(line) for line in self.source.captions(index)]
        value = self.source.meta(index).get(self.field)
        names = [value] if isinstance(value, str) else value
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            names = [name for name in names if name.strip()]
            if names:
                return names
        raise Reject("label missing", f"{self.field} must be a name or names, got {value!r}")

    def _check_field(self) -> None:
        """Raises ValueError where none of the first samples has a label in the field."""
        values: list[Any] = []
        fields: set[str] = set()
        for index in range(min(_LOOKED_AT, len(self))):
            try:
                meta = self.source.meta(index)
                values.append(meta.get(self.field))
                fields |= set(meta)
                self._names(index)
            except Reject:
                continue
            return
        others = ", ".join(sorted(fields)) or "none"
        raise ValueError(
            f"labels must be names in the field {self.field!r} of the samples' JSON, the first "
            f"samples of {self.source.name} have {values[:1]} there and the fields {others}; name "
            'the field, write names in place of numbers, or say "" if the captions are the names'
        )


def _filled(template: str, names: Sequence[str]) -> str:
    # Not str.format: a template is data, and other braces in it are only characters.
    return template.replace("{}", ", ".join(names))
