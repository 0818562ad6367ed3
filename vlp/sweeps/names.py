"""How models are called where there is little room, and how one is found by such a name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Model = tuple[str, int | None]
"""A model's name and step, as rows have them."""


def short_names(names: Iterable[str]) -> dict[str, str]:
    """The names by as few of their last parts as tell all of them apart.

    Examples:
      >>> short_names(["runs/a/clip", "hf:models/siglip"])
      {'runs/a/clip': 'clip', 'hf:models/siglip': 'siglip'}
      >>> short_names(["runs/a/clip", "runs/b/clip"])
      {'runs/a/clip': 'a/clip', 'runs/b/clip': 'b/clip'}
    """
    parts = {name: name.rstrip("/").split("/") for name in names}
    for depth in range(1, max(map(len, parts.values()), default=0)):
        short = {name: "/".join(own[-depth:]) for name, own in parts.items()}
        if len(set(short.values())) == len(short):
            return short
    return {name: name for name in parts}


def titled(name: str, step: int | None) -> str:
    """The name with the step, where there is one.

    Examples:
      >>> titled("clip", 40), titled("clip", None)
      ('clip@40', 'clip')
    """
    return name if step is None else f"{name}@{step}"


def models_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[int | None]]:
    """The steps of each model of some rows, ascending, models in the order of the rows."""
    found: dict[str, set[int | None]] = {}
    for row in rows:
        found.setdefault(row["model"], set()).add(row["step"])
    return {
        name: sorted(steps, key=lambda s: -1 if s is None else s) for name, steps in found.items()
    }


def find_model(text: str, rows: Sequence[Mapping[str, Any]]) -> Model:
    """The model that a text means: a name or the end of one, with `@STEP` or its last step.

    Args:
        text: such as `runs/clip@40`, `clip@40` or `clip`.
        rows: of a sweep.

    Raises:
        ValueError: there is none, or there are several; names those that there are.
    """
    models = models_of(rows)
    name, _, step = text.rpartition("@") if text.rpartition("@")[2].isdecimal() else (text, "", "")
    fitting = [name] if name in models else [m for m in models if f"/{m}".endswith(f"/{name}")]
    found = [(m, int(step) if step else models[m][-1]) for m in fitting]
    found = [(m, at) for m, at in found if at in models[m]]
    if len(found) != 1:
        known = ", ".join(titled(m, at) for m, steps in models.items() for at in steps)
        raise ValueError(
            f"a model must be one of this sweep, {known}, got {text!r}, which "
            + ("fits several" if found else "is none of them")
        )
    return found[0]
