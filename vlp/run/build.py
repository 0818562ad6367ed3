"""From a config to the objects of a run. The only place that knows both sides of the door."""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.audio import Spectrogram
from vlp.models.build import check_sizes, frozen_towers, make_model, model_class
from vlp.objectives import Objective, objectives
from vlp.parallel.mesh import batch_parts, check_global_batch_size, make_mesh
from vlp.run.captions import check_several_captions
from vlp.run.fields import batch_shapes
from vlp.run.frozen import abstract_frozen, planned_frozen
from vlp.run.groups import optimizer_groups
from vlp.run.lengths import Lengths
from vlp.run.naflex import check_naflex, is_naflex
from vlp.run.resolve import merge, of_preset
from vlp.run.sections import DURATIONS, SHARED, TOWERS, shared_settings
from vlp.run.sets import most_rows
from vlp.run.trimming import check_trimming
from vlp.training.loop.position import Position
from vlp.training.optim.optimizers import make_optimizer
from vlp.training.optim.schedules import make_schedule
from vlp.training.setup import Training, make_training


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is fixed before the first batch.

    Attributes:
        training: the set-up step and state.
        position: the samples seen so far.
        steps: the step at which the run ends.
        tuning_from: first step without patch dropping.
        tuning: the same training without patch dropping, or None.
        evaluated: which weights are judged, "params" or "averaged".
        model_kwargs: see `vlp.models.build.model_class`.
        lengths: what "2 epochs" and the like are in steps.
        groups: a line for each group of parameters that learn in a way of their own.
    """

    training: Training
    position: Position
    steps: int
    tuning_from: int
    tuning: Training | None
    evaluated: str
    model_kwargs: dict[str, Any]
    lengths: Lengths
    groups: dict[str, str]

    def with_frozen(self, params: Mapping[str, Any]) -> "Plan":
        """The same with the frozen models' parameters, by name."""
        training, tuning = self.training.with_frozen(params), self.tuning
        if tuning is not None:
            tuning = training.with_objective(tuning.recipe.objective)
        return dataclasses.replace(self, training=training, tuning=tuning)

    def training_at(self, step: int) -> Training:
        """The training that takes the step after so many steps."""
        return self.training if self.tuning is None or step < self.tuning_from else self.tuning


def model_kwargs(config: ConfigDict) -> dict[str, Any]:
    """Keyword arguments of the model: the config's over a preset's, and what other sections decide
    (pixels, normalisation, vocabulary, text length).
    """
    _check_resolved(config)
    own = config.model.to_dict()
    kwargs = merge(of_preset(own), own) if own.get("preset") else own
    kwargs = merge(shared_settings(kwargs), kwargs)
    for name in ("preset", *SHARED):
        kwargs.pop(name, None)
    preprocess, tokenizer = config.preprocess, config.tokenizer
    decided = dict(
        image={} if is_naflex(config) else dict(image_size=preprocess.size),
        text=dict(
            vocab_size=tokenizer.vocab_size + tokenizer.extra,
            length=tokenizer.length,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
        ),
        image_mean=list(preprocess.mean),
        image_std=list(preprocess.std),
    )
    if kwargs.get("audio"):
        spectrogram = Spectrogram(**config.audio.to_dict())
        decided["audio"] = dict(frames=spectrogram.frames, n_mels=spectrogram.n_mels)
    absent = [tower for tower in TOWERS if kwargs.get(tower, {}) is None]
    kwargs = merge(kwargs, {key: value for key, value in decided.items() if key not in absent})
    if "end_id" in inspect.signature(model_class(kwargs).__init__).parameters:
        kwargs["end_id"] = tokenizer.eos_id
    if kwargs["text"] and kwargs["text"].get("kind", "transformer") != "transformer":
        del kwargs["text"]["eos_id"]  # the other kinds pool without it
    return kwargs


def _check_towers(model: ConfigDict, fields: Sequence[str]) -> None:
    """Raises ValueError where no tower is for a field, or one that batches are not for."""
    for tower in TOWERS:
        if tower in fields and model.get(tower, {}) is None:
            raise ValueError(
                f"config.model.{tower} must be a tower's settings, for the objective reads the "
                f"field {tower!r}, got None; leave it out to take the preset's"
            )


def _check_resolved(config: ConfigDict) -> None:
    """Raises ValueError where what weights or a tokenizer say is not filled in yet."""
    pixels = "max_num_patches" if is_naflex(config) else "size"
    needs = [("preprocess", pixels), ("tokenizer", "vocab_size"), ("tokenizer", "length")]
    missing = [f"config.{section}.{name}" for section, name in needs if name not in config[section]]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} must be known by now, as config.init or config.tokenizer.path "
            "say it; read the config by vlp.cli.config.load_config"
        )


def _check_patches(image: Mapping[str, Any]) -> None:
    """Raises ValueError where a tower in training would not see the edge of its pictures."""
    size, patch_size = image["image_size"], image.get("patch_size")
    if not isinstance(patch_size, int) or patch_size < 1 or size % patch_size == 0:
        return
    lower = max(size // patch_size, 1) * patch_size
    raise ValueError(
        f"image_size must divide by patch_size {patch_size}, got {size}; "
        f"try preprocess.size={lower} or {lower + patch_size}"
    )


def plan(
    config: ConfigDict,
    *,
    samples_per_epoch: int | None,
    step: int = 0,
    samples: int = 0,
    mesh: Any = None,
    devices: Any = None,
    frozen: Mapping[str, Any] | None = None,
) -> Plan:
    """The training of a config, set up but not begun: nothing is allocated and no data is read.

    Args:
        config: of the whole run.
        samples_per_epoch: pairs in the training data; None where nothing is said in epochs.
        step, samples: where the run goes on: the steps it took, and the samples it saw in them.
        mesh: where to train; made from `config.mesh` and `devices` if not given.
        devices: of the mesh; all if not given.
        frozen: keyword arguments of the frozen models; found by `config.frozen` if not given.

    Raises:
        ValueError: when a setting is unknown, sizes do not divide, or lengths do not fit.
    """
    axes = config.mesh.to_dict()
    division = {name: axes.pop(name) for name in ("fsdp_min_elements",) if name in axes}
    mesh = mesh if mesh is not None else make_mesh(**axes, devices=devices)
    batch = config.train.global_batch_size
    check_global_batch_size(batch, mesh=mesh)
    lengths = Lengths(config, samples_per_epoch, Position(batch, step, samples))
    duration, position = lengths.steps, lengths.position
    schedule = config.optim.schedule.to_dict()
    schedule |= {key: duration(schedule[key]) for key in DURATIONS if key in schedule}
    _check_resolved(config)
    objective = config.objective.to_dict()
    objective |= {key: duration(objective[key]) for key in DURATIONS if key in objective}
    given = dict(
        mesh=mesh, most_rows=most_rows(config.data.sets.to_dict(), rows=batch // batch_parts(mesh))
    )
    loss = make_objective(**objective, given=given)
    _check_towers(config.model, loss.fields)
    kwargs = model_kwargs(config)
    check_sizes(kwargs)
    check_trimming(config, loss, kwargs)
    check_several_captions(config, loss)
    check_naflex(config, loss, kwargs)
    if kwargs["image"] and not is_naflex(config):
        _check_patches(kwargs["image"])
    groups, said = optimizer_groups(config, lengths, lambda rngs: make_model(kwargs, rngs=rngs))
    training = make_training(
        lambda rngs: make_model(kwargs, rngs=rngs),
        loss,
        mesh=mesh,
        global_batch_size=batch,
        optimizer=make_optimizer(
            schedule=position.schedule(make_schedule(**schedule, steps=lengths.whole)),
            groups=groups,
            **config.optim.optimizer.to_dict(),
        ),
        seed=config.seed,
        freeze=config.optim.freeze,
        ema_decay=config.train.ema_decay or None,
        ema_warmup=config.train.ema_warmup,
        frozen=_frozen(config, {*loss.frozen, *frozen_towers(kwargs)}, frozen),
        **division,
    )
    if training.abstract.carry is not None:
        lengths.check_unchanged()
    tuning = duration(config.train.unmasked_tuning)
    drops = objective.get("patch_drop", 0.0) > 0 and tuning > 0
    unmasked = make_objective(**(objective | {"patch_drop": 0.0}), given=given) if drops else None
    return Plan(
        training=training,
        position=position,
        steps=lengths.last,
        tuning_from=lengths.last - tuning if drops else lengths.last,
        tuning=training.with_objective(unmasked) if unmasked else None,
        evaluated=_evaluated(config),
        model_kwargs=kwargs,
        lengths=lengths,
        groups=said,
    )


def objective_fields(config: ConfigDict) -> tuple[str, ...]:
    """What the objective of a config reads of a batch; durations have no part in it.

    Raises:
        ValueError: as `make_objective`.
    """
    settings = config.objective.to_dict()
    settings = {name: value for name, value in settings.items() if name not in DURATIONS}
    return make_objective(**settings, given={"mesh": None}).fields


def make_objective(name: str, *, given: Mapping[str, Any], **settings: Any) -> Objective:
    """The objective of that name, with what it takes of the mesh and the rows of its modalities.

    Raises:
        ValueError: when there is no such objective.
        TypeError: when it has no such setting.
    """
    known = objectives()
    if name not in known:
        raise ValueError(f"objective.name must be one of {', '.join(known)}, got {name!r}")
    make = known[name]
    takes = inspect.signature(make).parameters
    return make(**settings, **{key: value for key, value in given.items() if key in takes})


def _frozen(
    config: ConfigDict, asked: set[str], given: Mapping[str, Any] | None
) -> dict[str, tuple[Any, Any]]:
    """Graph definitions and shapes of the frozen models, which objective or model must ask for."""
    if asked != set(config.frozen):
        raise ValueError(
            f"config.frozen must name what objective {config.objective.name} and the model look "
            f"at, {', '.join(sorted(asked)) or 'nothing'}, got "
            f"{', '.join(sorted(config.frozen)) or 'nothing'}; give each a section with the path "
            "of a model"
        )
    kwargs = planned_frozen(config) if given is None else given
    return {name: abstract_frozen(each) for name, each in kwargs.items()}


def _evaluated(config: ConfigDict) -> str:
    """Which weights of the train state are judged, reported and loaded: an average if there is one.

    Raises:
        ValueError: when there is no average, or no such choice.
    """
    choice, kept = config.train.evaluate, bool(config.train.ema_decay)
    if choice not in ("auto", "params", "average"):
        raise ValueError(f"config.train.evaluate is auto, params or average, got {choice!r}")
    if choice == "average" and not kept:
        raise ValueError(
            "config.train.evaluate=average needs an average of the weights, and "
            "config.train.ema_decay is 0; set it, for example to 0.999"
        )
    return "averaged" if kept and choice != "params" else "params"


def lower(config: ConfigDict, *, samples_per_epoch: int | None = None, mesh: Any = None) -> Any:
    """The train step of a config, lowered from shapes alone: no data, no parameters, any mesh.

    Returns:
        A `jax.stages.Lowered`; `.compile()` it where the mesh has devices.
    """
    training = plan(config, samples_per_epoch=samples_per_epoch, mesh=mesh).training
    return training.lower(batch_shapes(config, training.fields))
