"""Suites: tables of sets and tasks, those of the field and one's own."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from vlp.sweeps.entry import Entry

_FOLDER = "suites"


def known_suites() -> list[str]:
    """The names of the suites that come with vlp."""
    folder = resources.files("vlp.sweeps") / _FOLDER
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir())


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
      name: of a suite that comes with vlp, or of a TOML file with a table `[[set]]` for each, whose
        keys are the attributes of `Entry`.

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
    others = sorted(table.keys() - {"title", "source", "set"})
    if others or not isinstance(table.get("set"), list) or not table["set"]:
        raise ValueError(
            f"{name} must have a table [[set]] for each set, beside title and source"
            + (f", got {others[0]!r}" if others else "")
        )
    entries = [Entry.of(name, values) for values in table["set"]]
    twice = {e.name for e in entries if [x.name for x in entries].count(e.name) > 1}
    if twice:
        raise ValueError(f"{name}: sets must have different names, {min(twice)!r} is there twice")
    return entries
