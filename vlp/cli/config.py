"""Config files on the command line: `--config=FILE[:arg=value,...] --config.section.key=value`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

import experiments


def load_config(path: str, overrides: Sequence[str]) -> ConfigDict:
    """The config of `path`, overridden by `--config.a.b=value` arguments, locked.

    Args:
      path: `FILE.py` or `FILE.py:arg=value,...`. A file that is not there is looked for among the
        experiments that are installed with the package.
      overrides: arguments that all begin with `--config.`.

    Raises:
      ValueError: for a missing file, an unknown key (naming the nearest) or a value of wrong type.
    """
    arguments = ["vlp", f"--config={_find(path)}", *overrides]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)
    try:
        values(arguments)
        return values["config"].value
    except (AttributeError, KeyError) as error:
        raise ValueError(_unknown_key(path, overrides)) from error
    except flags.Error as error:
        raise ValueError(_refused(error)) from error


def _refused(error: flags.Error) -> str:
    """What the config file itself refuses, in its words alone; else which value is wrong."""
    if "Error whilst parsing config file" not in str(error):
        return f"{error}; the value must have the type of the config's own"
    first: BaseException = error
    while (cause := first.__cause__ or first.__context__) is not None:
        first = cause
    return str(first) if isinstance(first, ValueError) else str(error)


def _find(path: str) -> str:
    file, colon, argument = path.partition(":")
    candidates = [Path(file), Path(experiments.__path__[0]).parent / file]
    for candidate in candidates:
        if candidate.is_file():
            return f"{candidate}{colon}{argument}"
    known = sorted(p.name for p in candidates[1].parent.glob("*.py") if p.name[0] != "_")
    raise ValueError(
        f"config file {file} does not exist; installed experiments: {', '.join(known)}"
    )


def _unknown_key(path: str, overrides: Sequence[str]) -> str:
    known = sorted(flatten(load_config(path, []).to_dict()))
    for override in overrides:
        key = override.removeprefix("--config.").split("=", 1)[0]
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            hint = f"; did you mean config.{nearest[0]}?" if nearest else ""
            sections = sorted({name.split(".")[0] for name in known})
            return f"config.{key} does not exist{hint} (sections: {', '.join(sections)})"
    return f"{path} could not be read with {' '.join(overrides)}"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; empty dicts stay as leaves."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def as_json(config: ConfigDict) -> dict[str, Any]:
    """The resolved config as plain JSON values (tuples become lists)."""
    return json.loads(json.dumps(config.to_dict()))


def check_same_config(old: Mapping[str, Any], new: Mapping[str, Any], workdir: Path) -> None:
    """Raises ValueError listing the keys in which a workdir's config differs from the new one."""
    before, after = flatten(old), flatten(new)
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    if not changed:
        return
    lines = [f"  config.{k}: {before.get(k)!r} there, {after.get(k)!r} here" for k in changed[:8]]
    more = f"\n  and {len(changed) - 8} more" if len(changed) > 8 else ""
    raise ValueError(
        f"{workdir} holds a run of another config:\n" + "\n".join(lines) + more + "\n"
        "choose another --workdir, or pass --accept-config-changes to go on with the new values"
    )
