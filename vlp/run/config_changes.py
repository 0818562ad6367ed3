"""Whether a run that goes on has the config it had, defaults included."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments.common import base_config
from vlp.remote import Place
from vlp.run.resolve import merge, resolve_preset, resolve_shared, saved_filter
from vlp.run.sections import REQUIRED, sections, settings_of
from vlp.run.values import as_json, flatten, plain


def check_same_config(old: Mapping[str, Any], new: Mapping[str, Any], workdir: Place) -> None:
    """Raises ValueError listing the keys in which a workdir's config differs from the new one.

    A setting that one of them leaves to its default is equal to that default: to the one of its
    time, where there was another.
    """
    before, after = _complete(old), _complete(new)
    before["augment.interpolation"] = saved_filter(old) or before["augment.interpolation"]
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    if not changed:
        return
    lines = [f"  config.{k}: {before.get(k)!r} there, {after.get(k)!r} here" for k in changed[:8]]
    more = f"\n  and {len(changed) - 8} more" if len(changed) > 8 else ""
    raise ValueError(
        f"{workdir} holds a run of another config:\n" + "\n".join(lines) + more + "\n"
        "choose another --workdir, or pass --accept-config-changes to go on with the new values"
    )


def check_same_words(old: Mapping[str, Any], new: Mapping[str, Any], workdir: Place) -> None:
    """Raises ValueError where a run that goes on would read by another tokenizer than it has."""
    before, after = _complete(old), _complete(new)
    for key in ("tokenizer.path", "tokenizer.begin"):
        if before[key] != after[key]:
            raise ValueError(
                f"config.{key} must stay {before[key]!r} in {workdir}, got {after[key]!r}: a run "
                "reads by the tokenizer that it began with, and has it in its folder; put the "
                "value back, or begin another run from this one (config.init.path)"
            )


def _complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config by dotted key with all defaults, those of sections and those of constructors."""
    whole = ConfigDict(merge(as_json(base_config()), config))
    resolve_preset(whole)
    resolve_shared(whole)
    said = plain(defaults(whole)) | flatten(as_json(whole))
    return {key: value for key, value in said.items() if value != {}}


def defaults(config: ConfigDict) -> dict[str, Any]:
    """The defaults of all constructors that a config has a section for, by dotted key."""
    return {
        f"{section}.{name}": setting.default
        for section in sections(config)
        for name, setting in (settings_of(config, section) or {}).items()
        if setting.default is not REQUIRED
    }
