"""Which constructor a section of the config is for, and so which settings it has.

A section holds the keyword arguments of one constructor. Those that the config file leaves out have
the constructor's defaults, and flags of their own all the same.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from vlp.run.values import kinds_of

REQUIRED: Any = object()  # stands where a keyword argument has no default
# Settings of constructors that another section decides, for all that use them.
DECIDED = {
    "augment.size": "preprocess.size",
    "model.image.image_size": "preprocess.size",
    "model.image_mean": "preprocess.mean",
    "model.image_std": "preprocess.std",
    "model.text.vocab_size": "tokenizer.vocab_size",
    "model.text.length": "tokenizer.length",
    "model.text.eos_id": "tokenizer.eos_id",
    "model.text.pad_id": "tokenizer.pad_id",
    "model.end_id": "tokenizer.eos_id",
    "model.audio.frames": "audio.frames",
    "model.audio.n_mels": "audio.n_mels",
    "optim.schedule.steps": "train.total",
}
# Sections of any number of sections, whose names a config chooses.
NAMED = ("evals", "frozen", "optim.groups", "data.sets")
OPTIONAL = ("export", "audio", "augment_audio")  # sections that say nothing where they are empty
TOWERS = {"image": "vit", "text": "transformer"}  # and the kind where none is said
USUAL = TOWERS | {"audio": "ast"}
# Settings of the section `model` for all its parts, by what the constructors of these call them.
SHARED = {"precision": "dtype", "remat": "remat", "attention": "attention"}
# Durations are steps for their constructor and may have a unit in a config.
DURATIONS = ("warmup", "cooldown", "interval", "timescale", "ramp", "frozen_until")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a keyword argument may be.

    Attributes:
        kinds: see `vlp.run.values`.
        default: the constructor's, or `REQUIRED`.
    """

    kinds: tuple[type, ...]
    default: Any = REQUIRED


Settings = Mapping[str, Setting]


def keywords(*makes: Callable[..., Any], leaving: Collection[str] = ()) -> dict[str, Setting]:
    """The keyword arguments of functions or classes by name, each of the first that has it.

    Args:
        makes: classes stand for their `__init__`.
        leaving: names of arguments that are no settings, beside `self` and `rngs`.
    """
    found: dict[str, Setting] = {}
    for make in makes:
        function: Any = make.__init__ if isinstance(make, type) else make  # type: ignore[misc]
        hints = typing.get_type_hints(function)
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD or name in (*leaving, "self", "rngs"):
                continue
            kinds = kinds_of(hints.get(name, Any))
            kinds += (str,) if name in DURATIONS else ()
            empty = parameter.default is parameter.empty
            found.setdefault(name, Setting(kinds, REQUIRED if empty else parameter.default))
    return found


def settings_of(config: ConfigDict, section: str) -> Settings | None:
    """The settings that a section of a config has; None where it is for no constructor, or what
    chooses the constructor is unknown.

    Args:
        config: names, kinds and the like in it choose among constructors.
        section: its dotted name, such as "model.image".
    """
    parent, _, name = section.rpartition(".")
    if parent == "evals":
        return _evaluation(_get(config, section))
    if parent == "optim.groups":
        return _group()
    if parent == "data.sets":
        return _pair_set()
    if parent == "init":  # a further source of weights
        return {"path": Setting((str,)), "which": Setting((str,)), "only": Setting((tuple,))}
    if parent == "frozen":
        usual = {"path": "", "weights": "auto", "towers": "both", "drop_blocks": 0, "preset": ""}
        usual |= {"precision": ""}
        return {name: Setting((type(value),), value) for name, value in usual.items()}
    return _SECTIONS[section](config) if section in _SECTIONS else None


def sections(config: ConfigDict) -> list[str]:
    """The names of the sections of a config that are for a constructor, but those of `OPTIONAL`
    that are empty."""
    there = [name for name in _SECTIONS if isinstance(_get(config, name), ConfigDict)]
    there = [name for name in there if name not in OPTIONAL or _get(config, name)]
    named = [f"{parent}.{name}" for parent in NAMED for name in _get(config, parent)]
    return there + named


def init_sources(config: ConfigDict) -> list[dict[str, Any]]:
    """The settings of each source of weights: `config.init` itself, and each section in it."""
    init = config.init.to_dict()
    init.pop("adopt", None)
    own = {name: value for name, value in init.items() if not isinstance(value, Mapping)}
    sections = [dict(value) for value in init.values() if isinstance(value, Mapping)]
    return [source for source in (own, *sections) if source["path"]]


def shared_settings(model: Mapping[str, Any], section: str = "model") -> dict[str, Any]:
    """What a model's `precision`, `remat` and `attention` say of parts that leave it open.

    Args:
        model: the section `model`, its preset filled in.
        section: a part of it, to look at that and its own parts alone.

    Returns:
        Nested as the section is.
    """
    config = ConfigDict({"model": dict(model)})
    settings = {} if section == "model" else settings_of(config, section) or {}
    there = _get(config, section)
    found: dict[str, Any] = {
        name: model[shared]
        for shared, name in SHARED.items()
        if model.get(shared) and name in settings and name not in there
    }
    for name, part in there.items():
        if isinstance(part, ConfigDict) and (own := shared_settings(model, f"{section}.{name}")):
            found[name] = own
    return found


def near(config: ConfigDict, key: str) -> set[str]:
    """Keys that a config may have in the first section of this one."""
    top = key.split(".")[0]
    names = [name for name in _SECTIONS if name.split(".")[0] == top]
    names.append(key.rpartition(".")[0])
    return {f"{name}.{setting}" for name in names for setting in settings_of(config, name) or ()}


def undecided(model: Mapping[str, Any], prefix: str = "model.") -> dict[str, Any]:
    """A model's keyword arguments but those that other sections decide and towers that are None."""
    return {
        key: undecided(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in model.items()
        if f"{prefix}{key}" not in DECIDED and not (key in TOWERS and value is None)
    }


def _get(config: Any, section: str) -> Any:
    """The section of that dotted name; empty where there is none."""
    for name in section.split("."):
        config = config.get(name, {}) if isinstance(config, Mapping | ConfigDict) else {}
    return config


def _choice(config: ConfigDict, known: Mapping[str, Any], key: str, usual: str = "") -> Any:
    """What the value of a dotted key chooses; None where the value is not known."""
    section, _, name = key.rpartition(".")
    return known.get(_get(config, section).get(name, usual))


def _tokenizer(_: ConfigDict) -> Settings:
    from experiments.common import base_config

    usual = base_config().tokenizer.to_dict()
    return {name: Setting((type(value),), value) for name, value in usual.items()}


def _preprocess(_: ConfigDict) -> Settings:
    from data_pipelines.images import ImagePreprocess

    return keywords(ImagePreprocess)


def _augment(_: ConfigDict) -> Settings:
    from data_pipelines.augment import Augment
    from data_pipelines.emoji.styles import Styles

    return keywords(Augment, Styles, leaving=("size", "style"))


def _audio(_: ConfigDict) -> Settings:
    from data_pipelines.audio import Spectrogram

    return keywords(Spectrogram)


def _augment_audio(_: ConfigDict) -> Settings:
    from data_pipelines.sound_augment import SoundAugment

    return keywords(SoundAugment)


def _model(config: ConfigDict) -> Settings:
    from vlp.models.build import model_class

    decided = [key.removeprefix("model.") for key in DECIDED if key.startswith("model.")]
    parts = ("image", "text", "audio", "decoder", "fusion", "multiway")  # sections of their own
    own = keywords(model_class(config.model.to_dict()), leaving=(*parts, *decided))
    chosen = dict.fromkeys(("kind", "preset", *SHARED), Setting((str,), ""))
    return chosen | own


def _tower(config: ConfigDict, tower: str) -> Settings | None:
    from vlp.models.towers import TOWERS as KINDS

    usual = USUAL[tower]
    make = _choice(config, KINDS[tower], f"model.{tower}.kind", usual)
    decided = [key.removeprefix(f"model.{tower}.") for key in DECIDED]
    if make is None:
        return None
    return {"kind": Setting((str,), usual), **keywords(make, leaving=(*decided, "queries"))}


def _queries(_: ConfigDict) -> Settings:
    from vlp.nn.query_pool import QueryPool

    return keywords(QueryPool, leaving=("context_width", "norm_eps", "attention", "dtype"))


def _decoder(_: ConfigDict) -> Settings:
    from vlp.models.coca import Decoder

    return keywords(Decoder, leaving=("width", "context_width", "vocab_size"))


def _fusion(_: ConfigDict) -> Settings:
    from vlp.nn.fusion import FusionStack

    return keywords(FusionStack, leaving=("width", "context_width"))


def _multiway(_: ConfigDict) -> Settings:
    from vlp.nn.multiway import Multiway

    return keywords(Multiway, leaving=("width", "relative"))


def _objective(config: ConfigDict) -> Settings | None:
    from vlp.objectives import objectives

    make = _choice(config, objectives(), "objective.name")
    return make and {"name": Setting((str,)), **keywords(make, leaving=("mesh",))}


def _optimizer(config: ConfigDict) -> Settings | None:
    from vlp.training.optim.optimizers import OPTIMIZERS, make_optimizer

    make = _choice(config, OPTIMIZERS, "optim.optimizer.name", "adamw")
    return make and keywords(make_optimizer, make, leaving=("schedule", "groups"))


def _schedule(config: ConfigDict) -> Settings | None:
    from vlp.training.optim.schedules import SCHEDULES, make_schedule

    make = _choice(config, SCHEDULES, "optim.schedule.name", "cosine")
    return make and keywords(make_schedule, make, leaving=("steps",))


def _group() -> Settings:
    from vlp.training.optim.groups import Group

    return keywords(Group)


def _pair_set() -> Settings:
    from vlp.run.sets import pair_set

    return keywords(pair_set, leaving=("needs", "limits"))


def _mesh(_: ConfigDict) -> Settings:
    from vlp.parallel.mesh import make_mesh
    from vlp.training.setup import make_training

    smallest = "fsdp_min_elements"
    return keywords(make_mesh, leaving=("devices",)) | {smallest: keywords(make_training)[smallest]}


def _export(config: ConfigDict) -> Settings | None:
    from vlp.interop.export import TARGETS, check_model

    target = _choice(config, TARGETS, "export.to", "hf")
    if target is None:
        return None
    own = keywords(check_model, target.write, leaving=("kwargs", "run", "folder", "metrics"))
    return {"out": Setting((str,)), **own}


def _evaluation(settings: Any) -> Settings | None:
    from vlp.jobs.tasks import TASKS

    if settings.get("task") not in TASKS:
        return None if "task" in settings else {"task": Setting((str,))}
    own = keywords(TASKS[settings["task"]].run, leaving=("evaluator", "data"))
    shared = {"task": Setting((str,)), "data": Setting((str,)), "every": Setting((str, int))}
    for name, setting in own.items():
        if setting.default is REQUIRED:  # the task itself says so: the objective may give it
            own[name] = Setting(setting.kinds, None)
    return shared | own


_SECTIONS: dict[str, Callable[[ConfigDict], Settings | None]] = {
    "preprocess": _preprocess,
    "tokenizer": _tokenizer,
    "augment": _augment,
    "audio": _audio,
    "augment_audio": _augment_audio,
    "model": _model,
    "model.image": lambda config: _tower(config, "image"),
    "model.text": lambda config: _tower(config, "text"),
    "model.audio": lambda config: _tower(config, "audio"),
    "model.image.queries": _queries,
    "model.decoder": _decoder,
    "model.fusion": _fusion,
    "model.multiway": _multiway,
    "objective": _objective,
    "optim.optimizer": _optimizer,
    "optim.schedule": _schedule,
    "mesh": _mesh,
    "export": _export,
}
