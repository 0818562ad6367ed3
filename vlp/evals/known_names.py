"""Templates and class names of the field's sets by name, as CLIP_benchmark has them (MIT licence).

References:
  https://github.com/LAION-AI/CLIP_benchmark: en_zeroshot_classification_templates.json,
  en_classnames.json, and WordNet's ids of ImageNet's sets in builder.py. Wrong spellings ("a
  sattelite image of {c}") stay as published scores have them.
"""

import functools
import json
from importlib import resources

_FOLDER = "tables"


@functools.cache
def known_templates() -> dict[str, tuple[str, ...]]:
    """Templates with one `{}` each, by the name of the set that they are for."""
    found = _read("templates.json")
    return {name: tuple(t.replace("{c}", "{}") for t in each) for name, each in found.items()}


@functools.cache
def known_classes() -> dict[str, tuple[str, ...]]:
    """The names of classes in the order of their labels, by the name of the set.

    A name may stand there twice ("missile" and "sunglasses" of ImageNet), as it does in the field.
    """
    found = {name: tuple(each) for name, each in _read("class_names.json").items()}
    of = dict(zip(known_ids("imagenet1k"), found["imagenet1k"], strict=True))
    parts = {name: tuple(of[i] for i in known_ids(name)) for name in _ids() if name not in found}
    return found | parts


def known_ids(name: str) -> tuple[str, ...]:
    """WordNet's ids of a set's classes in the order of their labels; none where it has none."""
    return _ids().get(name, ())


@functools.cache
def _ids() -> dict[str, tuple[str, ...]]:
    return {name: tuple(ids.split()) for name, ids in _read("imagenet_wnids.json").items()}


def _read(name: str) -> dict:
    return json.loads((resources.files("vlp.evals") / _FOLDER / name).read_text("utf-8"))
