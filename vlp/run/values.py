"""Texts of the command line as values of the type that a setting has."""

import ast
import collections.abc
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a list such as (1, 2) or ('a', 'b')",
    dict: "a dict such as {'a': 1}",
    str: "a text",
    types.NoneType: "none",
}
_TRUTH = {"true": True, "false": False}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; empty dicts stay as leaves."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def plain(value: Any) -> Any:
    """The value as JSON would give it back: tuples become lists."""
    return json.loads(json.dumps(value))


def as_json(config: ConfigDict) -> dict[str, Any]:
    """The resolved config as plain JSON values (tuples become lists)."""
    return plain(config.to_dict())


def kinds_of(annotation: Any) -> tuple[type, ...]:
    """The keys of `NAMES` that a value of this annotation may be; all of them for what is open."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(kind for part in typing.get_args(annotation) for kind in kinds_of(part))
    plain = typing.get_origin(annotation) or annotation
    if plain in NAMES:
        return (plain,)
    if plain is None:
        return (types.NoneType,)
    if plain in (list, collections.abc.Sequence):
        return (tuple,)
    if plain is collections.abc.Mapping:
        return (dict,)
    return tuple(NAMES)


def parse_value(text: str, kinds: Collection[type]) -> Any:
    """The value that `text` says, of the first of the kinds, in the order of `_READERS`, it is of.

    Raises:
        ValueError: it is of none of them; says what it must be.
    """
    for kind, read in _READERS.items():
        if kind in kinds:
            try:
                return read(text)
            except ValueError:
                continue
    raise ValueError(f"must be {' or '.join(NAMES[k] for k in NAMES if k in kinds)}, got {text!r}")


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ValueError
    return _TRUTH[text.lower()]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = _number(text)
    if number != int(number):
        raise ValueError
    return int(number)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _literal(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = ast.literal_eval(text.strip())
        except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError from error
        value = tuple(value) if isinstance(value, list) else value
        if not isinstance(value, kind) or not _is_plain(value):
            raise ValueError
        return value

    return read


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold a value."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (str, int, types.NoneType))


def _nothing(text: str) -> None:
    if text.lower() not in ("none", "null"):
        raise ValueError


_READERS: dict[type, Callable[[str], Any]] = {
    types.NoneType: _nothing,
    bool: _truth,
    int: _whole,
    float: _number,
    tuple: _literal(tuple),
    dict: _literal(dict),
    str: str,
}
