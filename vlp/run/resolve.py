"""What a config leaves to a preset, or to the weights that it begins with, filled in."""

from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments.common import base_config
from vlp.run.sections import (
    REQUIRED,
    SHARED,
    TOWERS,
    init_sources,
    settings_of,
    shared_settings,
    undecided,
)

FORMER_FILTER = "bicubic"  # of photographs, where the config of an older run states none
ADOPTABLE = ("model", "preprocess", "tokenizer", "objective")


def resolve(
    config: ConfigDict, *, given: Collection[str] = (), before: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Fills what `config` leaves open, in place; says of each key that it filled where from.

    What the config says itself stays. `config.init.adopt` names sections whose gaps the weights of
    `config.init.path` fill; what is still open there is as in `base_config`. Of any other weights
    the normalisation of pixels and the tokenizer come along, unless the config says others.

    Args:
        config: of a run, not locked.
        given: keys that were set on purpose, even where their value is the usual one.
        before: the config of the run that goes on, for what the weights said, should they be gone.

    Raises:
        ValueError: nothing known is at `config.init.path`, or it lacks what is to be adopted.
    """
    found: dict[str, str] = {}
    adopt = _adopted(config)
    towers: set[str] = set()
    if init_sources(config):
        from vlp.run.adopt import of_weights

        under, over = of_weights(config, adopt=adopt, given=given, before=before)
        for key, value in over.items():
            section, _, name = key.rpartition(".")
            config[section][name] = value
            found[key] = "weights"
        for section, values in under.items():
            _fill(config[section], values, prefix=f"{section}.", source="weights", found=found)
        towers = TOWERS.keys() & under.get("model", {}).keys()
    found |= _resolve_tokenizer(config, given=given, before=before)
    for section in ADOPTABLE[1:]:  # what is still open
        usual = _usual(config, section)
        _fill(config[section], usual, prefix=f"{section}.", source="usual", found=found)
    found |= _resolve_filter(config, before=before)
    return found | resolve_preset(config, towers=towers) | resolve_shared(config)


def _usual(config: ConfigDict, section: str) -> dict[str, Any]:
    """What a section has where nothing says otherwise: as in `base_config`, or, where it is of
    another kind than there, what its constructor has."""
    usual, known = base_config()[section].to_dict(), settings_of(config, section)
    if known is None:
        return usual
    if section == "preprocess" and not usual.keys() <= known.keys():
        usual = {name: setting.default for name, setting in known.items()}
    return {name: usual[name] for name in known if usual.get(name, REQUIRED) is not REQUIRED}


def _resolve_tokenizer(
    config: ConfigDict, *, given: Collection[str], before: Mapping[str, Any] | None
) -> dict[str, str]:
    """The ids of the tokenizer that a path names, where the config leaves them open or the path was
    given in the place of another; its vocabulary, where there is no room for it. A run that goes on
    has a tokenizer of its own, so that the path's may be gone.
    """
    own, names = config.tokenizer, ("vocab_size", "eos_id", "pad_id")
    if not own.get("path") or all(n in own for n in names) and "tokenizer.path" not in given:
        return {}
    values = (before or {}).get("tokenizer", {})
    if values.get("path") != own.path:
        from vlp.run.tokenizers import published_tokenizer

        tokenizer = published_tokenizer(own.path, begin=own.get("begin", False))
        values = {name: getattr(tokenizer, name) for name in names}
    found = {}
    for name in names:
        value = values[name]
        fits = own.get(name) == value or (name == "vocab_size" and own.get(name, 0) >= value)
        if not fits and f"tokenizer.{name}" not in given:
            own[name] = value
            found[f"tokenizer.{name}"] = "tokenizer"
    return found


def _resolve_filter(config: ConfigDict, *, before: Mapping[str, Any] | None) -> dict[str, str]:
    """How photographs are resized, stated for the day on which it is usual to do so otherwise; the
    run that goes on keeps what was usual before. Those at their own aspect ratio are resized as
    evaluation does it.
    """
    from data_pipelines.augmentation import is_of_photographs
    from data_pipelines.photo_augment import PhotoAugment
    from vlp.run.naflex import is_naflex

    found: dict[str, str] = {}
    if not is_of_photographs(config.augment.keys()):
        return found
    value, source = PhotoAugment.interpolation, "usual"
    if is_naflex(config):
        value = config.preprocess.interpolation
    elif saved_filter(before or {}) == FORMER_FILTER:
        value, source = FORMER_FILTER, "workdir"
    values = {"interpolation": value}
    _fill(config.augment, values, prefix="augment.", source=source, found=found)
    return found


def saved_filter(config: Mapping[str, Any]) -> str | None:
    """How the run of a saved config resizes photographs; None where it has none of them."""
    from data_pipelines.augmentation import is_of_photographs

    settings = config.get("augment", {})
    if "interpolation" in settings:
        return settings["interpolation"]
    return FORMER_FILTER if is_of_photographs(settings) else None


def resolve_preset(config: ConfigDict, *, towers: Collection[str] = ()) -> dict[str, str]:
    """Fills the section `model` from the preset that it names, as in `resolve`.

    The name becomes that of `config.preset`, for those who read the config.

    Args:
        config: of a run, not locked.
        towers: those that weights have filled.

    Raises:
        ValueError: when there is no such preset, or nothing is left for it to say.
    """
    found: dict[str, str] = {}
    name = config.model.get("preset")
    if not name:
        return found
    if set(towers) == set(TOWERS):
        raise ValueError(
            f"config.init.adopt takes the architecture of {config.init.path}, and "
            f"config.model.preset={name} names another; leave one of them out"
        )
    values = of_preset(config.model.to_dict())
    values = {key: value for key, value in values.items() if key not in towers}
    _fill(config.model, values, prefix="model.", source=f"preset {name}", found=found)
    del config.model.preset
    config.preset = name
    found["preset"] = "name only"
    return found


def resolve_shared(config: ConfigDict) -> dict[str, str]:
    """Gives the model's parts what `precision`, `remat` and `attention` say of all, in place."""
    found: dict[str, str] = {}
    values = shared_settings(config.model.to_dict())
    _fill(config.model, values, prefix="model.", source="the whole model's", found=found)
    for name in SHARED.keys() & config.model.keys():
        del config.model[name]
    return found


def of_preset(own: Mapping[str, Any]) -> dict[str, Any]:
    """What the preset that a section `model` names adds to it, but what other sections decide.

    A tower of another kind than the preset's takes nothing from it.

    Raises:
        ValueError: when there is no such preset.
    """
    from vlp.models.presets import dual_encoder_preset

    try:
        kwargs = dual_encoder_preset(own["preset"])
    except ValueError as error:
        raise ValueError(f"config.model.preset: {error}") from error
    for tower, usual in TOWERS.items():
        kind = kwargs[tower].get("kind", usual)
        if own.get(tower, {}).get("kind", kind) != kind:
            del kwargs[tower]
    return undecided(kwargs)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, nested dicts merged."""
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if nested else value
    return merged


def _fill(
    section: ConfigDict,
    values: Mapping[str, Any],
    *,
    prefix: str,
    source: str,
    found: dict[str, str],
) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            if key not in section:
                section[key] = ConfigDict()
            _fill(section[key], value, prefix=f"{prefix}{key}.", source=source, found=found)
        elif key not in section:
            section[key] = value
            found[f"{prefix}{key}"] = source


def _adopted(config: ConfigDict) -> tuple[str, ...]:
    adopt = tuple(config.init.get("adopt", ()))
    unknown = sorted(set(adopt) - set(ADOPTABLE))
    if unknown:
        raise ValueError(
            f"config.init.adopt must be some of {', '.join(ADOPTABLE)}, got {unknown[0]!r}"
        )
    if adopt and not config.init.path:
        raise ValueError(
            f"config.init.adopt takes {', '.join(adopt)} from config.init.path, which is empty; "
            "name weights there"
        )
    return adopt
