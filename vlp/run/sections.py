"""Which constructor a section of the config is for, and so which settings it has.

A section holds the keyword arguments of one constructor. Those that the config file leaves out have
the constructor's defaults, and flags of their own all the same.
"""

import dataclasses
import functools
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
NAMED = ("evals", "frozen", "optim.groups", "data.sets", "init")
# Sections of any number of values, whose names a config chooses, and what each value is.
VALUES = {"data.captions": (float,), "data.vectors": (str,)}
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
_Make = Callable[[ConfigDict], Settings | None]


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
    parent = section.rpartition(".")[0]
    if parent == "evals":
        return _evaluation(_get(config, section))
    make = _members().get(parent) or _makes().get(section)
    return make(config) if make else None


def sections(config: ConfigDict) -> list[str]:
    """The names of the sections of a config that are for a constructor, but those of `OPTIONAL`
    that are empty."""
    there = [name for name in _makes() if isinstance(_get(config, name), ConfigDict)]
    there = [name for name in there if name not in OPTIONAL or _get(config, name)]
    named = [f"{parent}.{name}" for parent in NAMED for name in _get(config, parent)]
    return there + [name for name in named if isinstance(_get(config, name), ConfigDict)]


def inner_sections(section: str) -> list[str]:
    """The names of the sections that a section may have in it, but those that a config chooses."""
    parts = [name.rpartition(".") for name in (*_makes(), *NAMED, *VALUES)]
    return [name for parent, _, name in parts if parent == section]


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
    names = [name for name in _makes() if name.split(".")[0] == top]
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


def _model(config: ConfigDict) -> Settings:
    from vlp.models.build import model_class

    decided = [key.removeprefix("model.") for key in DECIDED if key.startswith("model.")]
    parts = ("image", "text", "audio", "decoder", "fusion", "multiway")  # sections of their own
    own = keywords(model_class(config.model.to_dict()), leaving=(*parts, *decided))
    chosen = dict.fromkeys(("kind", "preset", *SHARED), Setting((str,), ""))
    return chosen | own


def _preprocess(config: ConfigDict) -> Settings | None:
    from data_pipelines.images import ImagePreprocess, NaflexPreprocess

    usual = ImagePreprocess.kind
    kinds = {make.kind: make for make in (ImagePreprocess, NaflexPreprocess)}
    make = _choice(config, kinds, "preprocess.kind", usual)
    return make and {"kind": Setting((str,), usual), **keywords(make)}


def _tower(config: ConfigDict, tower: str) -> Settings | None:
    from vlp.models.towers import TOWERS as KINDS

    usual = USUAL[tower]
    make = _choice(config, KINDS[tower], f"model.{tower}.kind", usual)
    decided = [key.removeprefix(f"model.{tower}.") for key in DECIDED]
    if make is None:
        return None
    return {"kind": Setting((str,), usual), **keywords(make, leaving=(*decided, "queries"))}


def _objective(config: ConfigDict) -> Settings | None:
    from vlp.objectives import objectives

    make = _choice(config, objectives(), "objective.name")
    return make and {"name": Setting((str,)), **keywords(make, leaving=("mesh",))}


def _by_name(make: Callable[..., Any], chosen: Callable[..., Any] | None) -> Settings | None:
    """The settings of a function that chooses by name, and of what it chooses."""
    return chosen and keywords(make, chosen, leaving=("schedule", "groups", "steps"))


def _usual(values: Mapping[str, Any]) -> Settings:
    return {
        name: Setting((type(value),), value)
        for name, value in values.items()
        if not isinstance(value, Mapping)  # sections of their own
    }


def _export(config: ConfigDict) -> Settings | None:
    from vlp.interop.export import TARGETS, check_model

    target = _choice(config, TARGETS, "export.to", "hf")
    if target is None:
        return None
    own = keywords(check_model, target.write, leaving=("kwargs", "run", "folder", "metrics"))
    return {"out": Setting((str,)), **own}


def _evaluation(settings: Any) -> Settings | None:
    from vlp.jobs.tasks import TASKS

    when = {"every": Setting((str, int))}
    if "suite" in settings:
        from vlp.sweeps.live import LiveSet

        return when | keywords(LiveSet)
    if settings.get("task") == "loss":
        from vlp.sweeps.held_out import HeldOut

        of = {"task": Setting((str,)), "data": Setting((str,))}
        return when | of | keywords(HeldOut.of, leaving=("source", "inputs", "rows"))
    if settings.get("task") not in TASKS:
        return (
            None if "task" in settings else {"task": Setting((str,)), "suite": Setting((str,), "")}
        )
    own = keywords(TASKS[settings["task"]].run, leaving=("evaluator", "data"))
    shared = {"task": Setting((str,)), "data": Setting((str,))} | when
    for name, setting in own.items():
        if setting.default is REQUIRED:  # the task itself says so: the objective may give it
            own[name] = Setting(setting.kinds, None)
    return shared | own


@functools.cache
def _makes() -> dict[str, _Make]:
    """What the sections are for, by their dotted names."""
    from data_pipelines.audio import Spectrogram  # all this takes long to import
    from data_pipelines.augment import Augment
    from data_pipelines.limits import Limits
    from data_pipelines.photo_augment import PhotoAugment
    from data_pipelines.sound_augment import SoundAugment
    from data_pipelines.styles import Styles
    from experiments.common import base_config
    from vlp.models.coca import Decoder
    from vlp.nn.fusion import FusionStack
    from vlp.nn.multiway import Multiway
    from vlp.nn.query_pool import QueryPool
    from vlp.parallel.mesh import make_mesh
    from vlp.training.optim.optimizers import OPTIMIZERS, make_optimizer
    from vlp.training.optim.schedules import SCHEDULES, make_schedule
    from vlp.training.setup import make_training

    smallest, of_context = "fsdp_min_elements", ("width", "context_width", "vocab_size")
    of_pool = ("context_width", "norm_eps", "attention", "dtype")
    optimizer = ("optim.optimizer.name", "adamw")
    schedule = ("optim.schedule.name", "cosine")
    usual = base_config().to_dict()

    def read_one_by_one(section: str) -> _Make:
        return lambda _: _usual(usual[section])

    return {
        "data": lambda _: {**_usual(usual["data"]), "workers": Setting((int, str), 0)},
        "data.limits": lambda _: keywords(Limits),
        "preprocess": _preprocess,
        "tokenizer": read_one_by_one("tokenizer"),
        "augment": lambda _: keywords(Augment, Styles, PhotoAugment, leaving=("size", "style")),
        "audio": lambda _: keywords(Spectrogram),
        "augment_audio": lambda _: keywords(SoundAugment),
        "model": _model,
        **{f"model.{tower}": functools.partial(_tower, tower=tower) for tower in USUAL},
        "model.image.queries": lambda _: keywords(QueryPool, leaving=of_pool),
        "model.decoder": lambda _: keywords(Decoder, leaving=of_context),
        "model.fusion": lambda _: keywords(FusionStack, leaving=of_context),
        "model.multiway": lambda _: keywords(Multiway, leaving=("width", "relative")),
        "init": read_one_by_one("init"),
        "objective": _objective,
        "optim": read_one_by_one("optim"),
        "optim.optimizer": lambda c: _by_name(make_optimizer, _choice(c, OPTIMIZERS, *optimizer)),
        "optim.schedule": lambda c: _by_name(make_schedule, _choice(c, SCHEDULES, *schedule)),
        "mesh": lambda _: {
            **keywords(make_mesh, leaving=("devices",)),
            smallest: keywords(make_training)[smallest],
        },
        "train": read_one_by_one("train"),
        "checkpoint": read_one_by_one("checkpoint"),
        "report": read_one_by_one("report"),
        "export": _export,
    }


@functools.cache
def _members() -> dict[str, _Make]:
    """What the sections are for that a config names, by the section that holds them."""
    from vlp.run.chosen import open_chosen
    from vlp.run.sets import pair_set
    from vlp.training.optim.groups import Group

    frozen = {"path": "", "weights": "auto", "towers": "both", "drop_blocks": 0, "preset": ""}
    source = {"path": Setting((str,)), **_usual({"which": "params", "only": (".*",)})}
    return {
        "optim.groups": lambda _: keywords(Group),
        "data.sets": lambda _: keywords(pair_set, open_chosen, leaving=("needs", "limits", "sets")),
        "init": lambda _: source,  # a further source of weights
        "frozen": lambda _: _usual(frozen | {"precision": ""}),
    }
