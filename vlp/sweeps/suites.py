"""Suites: tables of sets and tasks, those of the field and one's own.

title = "Mine"
use = ["imagenet1k", "vtab/dtd"]       # sets that vlp knows, see `known_sets`

[[set]]                                # or one's own, with the attributes of `Entry`
name = "birds"
like = "imagenet1k"                    # what is not said here is as there
templates = "photo"
"""

import functools
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from vlp.sweeps.entry import Entry

_FOLDER, _SETS = "suites", "sets"


def known_suites() -> list[str]:
    """The names of the suites that come with vlp."""
    folder = resources.files("vlp.sweeps") / _FOLDER
    names = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


@functools.cache
def known_sets() -> Mapping[str, Mapping[str, Any]]:
    """The sets of the field by name: what suites say of them in common."""
    found: dict[str, Mapping[str, Any]] = {}
    folder = resources.files("vlp.sweeps") / _FOLDER / _SETS
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        table = tomllib.loads(file.read_text("utf-8"))
        common = table.get("common", {})
        for each in table["set"]:
            if each["name"] in found:
                raise ValueError(f"{file.name}: the set {each['name']} is there already")
            found[each["name"]] = common | each
    return found


def read_suites(names: Sequence[str]) -> list[Entry]:
    """The sets of several suites, each once.

    Args:
      names: of suites that come with vlp, or of TOML files.

    Raises:
      ValueError: there is no such suite, it is no TOML, an entry has what entries have not, or two
        entries of one name are not the same.
    """
    found: dict[str, Entry] = {}
    for name in names:
        for entry in read_suite(name):
            if found.setdefault(entry.name, entry) != entry:
                raise ValueError(
                    f"{name}: the set {entry.name!r} is another one in a suite before; give each "
                    "suite a sweep of its own"
                )
    return list(found.values())


def read_suite(name: str) -> list[Entry]:
    """The sets of one suite.

    Args:
      name: of a suite that comes with vlp, or of a TOML file, see the module's docstring.

    Raises:
      ValueError: see `read_suites`.
    """
    if name in known_suites():
        text = (resources.files("vlp.sweeps") / _FOLDER / f"{name}.toml").read_text("utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise ValueError(
            f"a suite must be one of {', '.join(known_suites())}, or a .toml file, got {name!r}"
        )
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name} must be TOML: {error}") from error
    others = sorted(table.keys() - {"title", "source", "use", "set"})
    listed, own = table.get("use", []), table.get("set", [])
    tables = isinstance(own, list) and all(isinstance(each, dict) for each in own)
    if others or not isinstance(listed, list) or not tables or not [*listed, *own]:
        raise ValueError(
            f"{name} must have a table [[set]] for each set, or use = [...] of sets that are known "
            "by name, beside title and source" + (f", got {others[0]!r}" if others else "")
        )
    entries = [Entry.of(name, _like(name, each)) for each in listed]
    entries += [Entry.of(name, _whole(name, values)) for values in own]
    twice = {e.name for e in entries if [x.name for x in entries].count(e.name) > 1}
    if twice:
        raise ValueError(f"{name}: sets must have different names, {min(twice)!r} is there twice")
    return entries


def _whole(where: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    if "like" not in values:
        return values
    own = {key: value for key, value in values.items() if key != "like"}
    return {**_like(where, values["like"]), **own}


def _like(where: str, name: Any) -> Mapping[str, Any]:
    """What is known of a set by its name."""
    if not isinstance(name, str) or name not in known_sets():
        raise ValueError(
            f"{where}: a set that is used must be one of {', '.join(known_sets())}, got {name!r}"
        )
    return known_sets()[name]
