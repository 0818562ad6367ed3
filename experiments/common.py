"""What every experiment shares: the argument behind the colon, and the sections a run has."""

from __future__ import annotations

import difflib
import re
from typing import Any

from ml_collections import ConfigDict


def parse_arg(arg: str, **defaults: Any) -> ConfigDict:
    """The `key=value,...` behind the colon of `--config=FILE.py:key=value,...`, typed by `defaults`.

    A comma separates only where a known key follows it, so values may contain commas.

    Raises:
      ValueError: for an unknown key (naming the nearest) or a value of the wrong type.
    """
    args = ConfigDict(defaults)
    for item in filter(None, re.split(r",(?=\w+=)", arg or "")):
        key, equals, value = item.partition("=")
        if key not in defaults or not equals:
            nearest = difflib.get_close_matches(key, defaults, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(defaults)}"
            raise ValueError(f"config argument {item!r} must be key=value with a known key; {hint}")
        args[key] = _typed(key, value, like=defaults[key])
    return args


def _typed(key: str, value: str, *, like: Any) -> Any:
    if isinstance(like, bool):
        if value.lower() not in ("true", "false"):
            raise ValueError(f"config argument {key} must be true or false, got {value!r}")
        return value.lower() == "true"
    try:
        return type(like)(value)
    except ValueError:
        kind = type(like).__name__
        raise ValueError(f"config argument {key} must be of type {kind}, got {value!r}") from None
