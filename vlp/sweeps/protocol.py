"""What decides the scores of a set besides models and settings, so that others can be told."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vlp.sweeps.sets import EvalSet


def protocol_of(found: EvalSet) -> dict[str, str]:
    """A hash of each thing that a set has and scores hang on, by what people call it."""
    asked, train = found.choices, found.train
    parts: dict[str, Sequence[Any]] = {
        "pictures": [found.pictures.fingerprint],
        "classes": [found.class_names, found.aliases],
        "prompts": [found.templates, found.prompts],
        "captions": [found.texts, found.picture_of_text],
        "labels": [found.labels],
        "groups": [found.groups],
        "masks": [found.masks.fingerprint if found.masks else ""],
    }
    if asked is not None:
        arrays = (*asked.pictures, *asked.texts, *asked.right, *asked.beside)
        parts["questions"] = [*arrays, asked.kinds]
    if train is not None:
        parts["training part"] = [train.pictures.fingerprint, train.labels]
    return {name: _hash(values) for name, values in parts.items() if any(map(_is_there, values))}


def differing(protocols: Iterable[Mapping[str, Any]]) -> list[str]:
    """What some protocols do not have in common, as sentences name it."""
    every = list(protocols)
    names = dict.fromkeys(name for each in every for name in each)
    return [name for name in names if len({each.get(name) for each in every}) > 1]


def told_apart(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What rows of one set and task were judged by that others were not; [] where they compare."""
    return differing(
        {name: json.dumps(value, sort_keys=True) for name, value in row.get("settings", {}).items()}
        | row.get("protocol", {})
        for row in rows
        if "failed" not in row
    )


def _is_there(value: Any) -> bool:
    return value is not None and len(value) > 0


def _hash(values: Sequence[Any]) -> str:
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            digest.update(repr(value.shape).encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        else:
            digest.update(repr(value).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]
