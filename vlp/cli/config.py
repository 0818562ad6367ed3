"""Config files on the command line: `--config=FILE[:arg=value,...] --config.section.key=value`."""

import difflib
import json
import runpy
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

import experiments
from experiments.common import base_config
from vlp.remote import place
from vlp.run.resolve import resolve
from vlp.run.sections import (
    DECIDED,
    NAMED,
    REQUIRED,
    TOWERS,
    VALUES,
    inner_sections,
    near,
    sections,
    settings_of,
)
from vlp.run.values import NAMES, flatten, kinds_of, parse_value

# What chooses among constructors is set before what they are given.
_CHOICES = ("kind", "name", "preset", "pool", "task", "to")


class Config(NamedTuple):
    """A config and, of each of its keys, where the value is from.

    Attributes:
        config: resolved and locked.
        origin: by dotted key: "usual" (`experiments.common.base_config`), "file", "flag", "preset
            NAME", "weights" or "tokenizer".
    """

    config: ConfigDict
    origin: dict[str, str]


def load_config(
    path: str, overrides: Sequence[str], *, workdir: str | Path | None = None
) -> ConfigDict:
    """The config of `path` with `--config.a.b=value` arguments over it, resolved and locked.

    Args:
        path: `FILE.py` or `FILE.py:arg=value,...`. A file that is not there is looked for among the
            experiments that are installed with the package.
        overrides: arguments that all begin with `--config.`. Every setting of a section's
            constructor has one, whether the file mentions it or not.
        workdir: of the run that may go on there: it remembers what weights said that are gone.

    Raises:
        ValueError: for a missing file, an unknown key (naming the nearest), a value of wrong type,
            or weights that lack what the config takes from them.
    """
    return read_config(path, overrides, workdir=workdir).config


def read_config(
    path: str, overrides: Sequence[str], *, workdir: str | Path | None = None
) -> Config:
    """As `load_config`, with the origin of every value."""
    config = run_file(path)
    origin = dict.fromkeys(flatten(config.to_dict()), "file")
    flags = dict(item.removeprefix("--config.").split("=", 1) for item in overrides)
    early = sorted(flags, key=lambda key: key.split(".")[-1] not in _CHOICES)
    late = [key for key in early if not _put(config, key, flags[key])]
    origin |= resolve(config, given=flags, before=_before(workdir))
    for key in late:
        if not _put(config, key, flags[key]):
            raise ValueError(_unknown_key(config, key))
    origin |= dict.fromkeys(flags, "flag")
    _check(config)
    usual = flatten(base_config().to_dict())
    for key, value in flatten(config.to_dict()).items():
        if origin.get(key) == "file" and key in usual and usual[key] == value:
            origin[key] = "usual"
    return Config(config.lock(), origin)


def run_file(path: str) -> ConfigDict:
    """What `get_config` of a file returns for the argument behind the colon.

    Raises:
        ValueError: there is no such file, it refuses its argument, or it has a mistake (with the
            line).
    """
    file, colon, argument = _find(path).partition(":")
    try:
        get_config = runpy.run_path(file)["get_config"]
        config = get_config(argument) if colon else get_config()
    except Exception as error:
        raise ValueError(_refused(file, error)) from error
    if not isinstance(config, ConfigDict):
        raise ValueError(
            f"get_config of {file} must return a ConfigDict, got {type(config).__name__}"
        )
    return _unshared(config)


def _unshared(config: ConfigDict) -> ConfigDict:
    """A copy in which no section stands in two places, so that a flag changes one."""
    copy = ConfigDict()
    for key, value in config.items(preserve_field_references=True):
        copy[key] = _unshared(value) if isinstance(value, ConfigDict) else value
    return copy


def _refused(file: str, error: Exception) -> str:
    """What the config file itself refuses, in its words alone; else the mistake and its line."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: SyntaxError: {error.msg}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, ValueError) and (last.line or "").startswith("raise"):
        return str(error)
    if last.filename == __file__:
        return f"{file} must define get_config(arg): {type(error).__name__}: {error}"
    where = f"{last.filename}, line {last.lineno}, in {last.name}"
    return f"{where}: {type(error).__name__}: {error}"


def _find(path: str) -> str:
    file, colon, argument = path.partition(":")
    candidates = [Path(file), Path(experiments.__path__[0]).parent / file]
    for candidate in candidates:
        if candidate.is_file():
            return f"{candidate}{colon}{argument}"
    known = installed()
    nearest = difflib.get_close_matches(f"{Path(file).stem}.py", known, n=1)
    hint = f"did you mean experiments/{nearest[0]}?" if nearest else ", ".join(known)
    said = f"config file {file} does not exist" if file else "--config must name a file, got none"
    raise ValueError(f"{said}; {hint if nearest else f'installed experiments: {hint}'}")


def installed() -> list[str]:
    """The names of the experiments that come with the package."""
    found = {path.name for path in Path(experiments.__path__[0]).glob("*.py")}
    return sorted(found - {"__init__.py", "common.py"})


def _put(config: ConfigDict, key: str, text: str) -> bool:
    """Sets a key from a flag; False where no section has it yet.

    Raises:
        ValueError: the value is of another type, or nothing will ever have the key.
    """
    parent, _, name = key.rpartition(".")
    section = _section(config, parent)
    there = section is not None and name in section
    if there and isinstance(section[name], ConfigDict):
        inside = list(section[name]) or list(settings_of(config, key) or ["..."])
        raise ValueError(
            f"config.{key} is a section, which takes no value, got {text!r}; set what is in it, "
            f"such as config.{key}.{inside[0]}"
        )
    if not there and key in DECIDED:
        raise ValueError(f"config.{key} is decided by config.{DECIDED[key]}; set that")
    kinds = _kinds(section, name) if there else VALUES.get(parent, ())
    value, wrong = _parsed(text, kinds)
    if wrong:
        settings = settings_of(config, parent)
        if settings is None and not there:
            raise ValueError(_unknown_key(config, key))
        known = (settings or {}).get(name)
        if known is None and not there:
            return False
        kinds += known.kinds if known else ()
        value, wrong = _parsed(text, kinds or tuple(NAMES))
    if wrong:
        raise ValueError(f"config.{key} {wrong}")
    section = _section(config, parent, make=True)
    with section.ignore_type():
        section[name] = value
    return True


def _section(config: ConfigDict, name: str, *, make: bool = False) -> Any:
    """The section of that dotted name; None where there is none, unless it is to be made."""
    for part in filter(None, name.split(".")):
        if part not in config and make:
            config[part] = ConfigDict()
        config = config.get(part)
        if not isinstance(config, ConfigDict):
            return None
    return config


def _kinds(section: ConfigDict, name: str) -> tuple[type, ...]:
    """What the value that is there, or the placeholder for one, may become."""
    kind = section.get_type(name)
    if kind is type(None):
        return ()
    return (*kinds_of(kind), *((type(None),) if section[name] is None else ()))


def _parsed(text: str, kinds: tuple[type, ...]) -> tuple[Any, str]:
    """The value, and what is wrong with the text: nothing where there is a value."""
    try:
        return parse_value(text, kinds), ""
    except ValueError as error:
        return None, str(error)


def _unknown_key(config: ConfigDict, key: str) -> str:
    known = near(config, key) | set(flatten(config.to_dict()))
    nearest = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.4)
    hint = f"; did you mean config.{nearest[0]}?" if nearest else ""
    return f"config.{key} does not exist{hint} (sections: {', '.join(sorted(config))})"


def _check(config: ConfigDict) -> None:
    """Raises ValueError where a section has what nothing takes, or lacks what something needs."""
    top = [*base_config(), "preset"]  # whose name `resolve` leaves there
    for name in config:
        if name not in top:
            raise ValueError(_unknown_name("config", name, top))
    for section in sections(config):
        settings, own = settings_of(config, section), _section(config, section)
        if settings is None or not own:
            continue
        for name in own:
            key = f"{section}.{name}"
            if key in DECIDED:
                raise ValueError(
                    f"config.{key} is decided by config.{DECIDED[key]}; leave it out and set that"
                )
            absent = section == "model" and name in TOWERS and own[name] is None
            inner = section in NAMED or name in inner_sections(section)
            inner = inner and isinstance(own[name], ConfigDict)
            if name not in settings and not absent and not inner:
                known = [*settings, *inner_sections(section)]
                raise ValueError(_unknown_name(f"config.{section}", name, known))
        missing = [n for n, s in settings.items() if s.default is REQUIRED and n not in own]
        if missing:
            raise ValueError(f"config.{section} needs {' and '.join(missing)}, got nothing there")


def _unknown_name(section: str, name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}" if nearest else f"known: {', '.join(known)}"
    return f"{section} has no setting {name}; {hint}"


def _before(workdir: str | Path | None) -> dict[str, Any] | None:
    """The config of the run in a workdir, if there is one that can be read."""
    try:
        return json.loads((place(workdir or "") / "config.json").read_text())
    except (OSError, ValueError):
        return None
