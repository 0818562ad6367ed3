"""The start of a run up to its first step: what can be refused is, before anything is written."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from vlp.interop.export import check_model, check_request
from vlp.jobs.data_checks import check_whole
from vlp.models.build import with_frozen
from vlp.parallel.together import everywhere, on_first, sharing_cores
from vlp.run.build import Plan, plan
from vlp.run.evaluations import Evaluations
from vlp.run.fields import batch_shapes
from vlp.run.frozen import Frozen, open_frozen
from vlp.run.init_from import given_params
from vlp.run.inputs import Inputs, open_inputs
from vlp.run.values import as_json
from vlp.run.workdir import Workdir
from vlp.training.checkpoint.checkpoints import Checkpoints, Found
from vlp.training.loop.loop import check_limits

_log = logging.getLogger("vlp")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run before its next step.

    Attributes:
        inputs: the host's side; its loader stands at the next batch.
        plan: the training.
        evaluations: checked with their data.
        checkpoints: of the run.
        state: the train state, new or restored.
        start: the step of that state.
    """

    inputs: Inputs
    plan: Plan
    evaluations: Evaluations
    checkpoints: Checkpoints
    state: Any
    start: int


def prepare(
    config: ConfigDict,
    workdir: Workdir,
    *,
    accept_changes: bool,
    must_exist: bool,
    accept_data_changes: bool = False,
) -> Prepared:
    """Checks everything, restores or begins the state, and only then makes the folder the run's.

    Every process must call this at the same time, the first one with the folder locked.

    Args:
        config: of the run.
        workdir: of the run.
        accept_changes: go on although the config was another.
        must_exist: refuse to begin anew.
        accept_data_changes: go on although files of the data are gone.

    Raises:
        ValueError: something is refused, on any of the processes; the folder is as it was.
    """
    settings = as_json(config)
    check_limits(
        max_skipped_in_a_row=config.train.max_skipped_in_a_row,
        watchdog_s=config.train.watchdog_s or None,
        log_every=config.train.log_every,
    )
    everywhere(
        lambda: workdir.check(settings, accept_changes=accept_changes, must_exist=must_exist)
    )
    everywhere(lambda: _check_out(config, workdir))
    sharing = sharing_cores()
    inputs = everywhere(
        lambda: _checked_inputs(
            config, workdir, accept_changes=accept_data_changes, sharing=sharing
        )
    )
    found = Checkpoints(workdir.checkpoints).newest()
    if found is None and must_exist:
        raise ValueError(
            f"--resume needs a checkpoint in --workdir, {workdir.address} holds none; restore one "
            "from a copy, or leave --resume out to begin anew"
        )
    frozen = everywhere(lambda: _frozen(config, inputs, found, accept_changes=accept_changes))
    planned = everywhere(lambda: _planned(config, inputs, found, frozen))
    evaluations = everywhere(lambda: Evaluations(config, planned, inputs, workdir))
    card = inputs.card(planned, config)
    if frozen:
        card["frozen"] = {name: each.reference for name, each in frozen.items()}
    checkpoints = Checkpoints(
        workdir.checkpoints,
        keep=config.checkpoint.keep,
        keep_every=planned.lengths.every_samples(config.checkpoint.keep_every),
        config=settings,
        card=card,
        before_commit=workdir.put_up,
    )
    if found is None:
        if workdir.begun:
            _log.warning("%s has no checkpoint: its steps are done again", workdir.address)
        state = planned.training.init(everywhere(lambda: given_params(config)))
    else:
        state = checkpoints.read(found, planned.training.abstract)
        _say_place(found, steps=planned.steps, optimizer=_optimizer(config.optim))
    on_first(lambda: workdir.claim(settings, card, inputs.tokenizer))
    return Prepared(
        inputs, planned, evaluations, checkpoints, state, 0 if found is None else found.step
    )


def check_export(config: ConfigDict, model_kwargs: dict[str, Any]) -> None:
    """Raises ValueError before training for a model that could not be exported after it."""
    if config.export:
        settings = config.export.to_dict()
        del settings["out"]
        check_model(model_kwargs, **settings)


def _check_out(config: ConfigDict, workdir: Workdir) -> None:
    """Raises ValueError before training where an export after it would have no place."""
    if config.export:
        settings = config.export.to_dict()
        out = settings.pop("out")
        workdir.check_free("config.export.out", out)
        check_request(workdir.path / out, overwrite=True, **settings)


def _say_place(found: Found, *, steps: int, optimizer: str) -> None:
    """Says where a run goes on, and what becomes of the state of another optimizer."""
    if found.step > steps:
        _log.warning(
            "the run is at step %d, past its end at step %d (config.train.total): nothing is left "
            "to train; say a later end to go on",
            found.step,
            steps,
        )
    else:
        _log.info("resuming at step %d of %d", found.step, steps)
    before = _optimizer((found.config or {}).get("optim", {}))
    if before != optimizer:
        _log.warning(
            "the optimizer was %s and is %s from here on: it begins with what %s kept under the "
            "same names, such as the mean of the gradients",
            before,
            optimizer,
            before,
        )


def _optimizer(optim: Any) -> str:
    return optim.get("optimizer", {}).get("name", "adamw")


def _checked_inputs(
    config: ConfigDict, workdir: Workdir, *, accept_changes: bool, sharing: int
) -> Inputs:
    inputs = open_inputs(config, workdir, sharing=sharing)
    check_whole(inputs.source, accept_changes=accept_changes)
    inputs.loader.check()
    return inputs


def _frozen(
    config: ConfigDict, inputs: Inputs, found: Found | None, *, accept_changes: bool
) -> dict[str, Frozen]:
    """The frozen models, which must be those that a run that goes on has looked at."""
    frozen = open_frozen(config, inputs.tokenizer)
    before = {} if found is None else found.card.get("frozen", {})
    for name, reference in before.items():
        now = frozen[name].reference if name in frozen else {"source": "none", "model": ""}
        if now["model"] != reference["model"] and not accept_changes:
            raise ValueError(
                f"config.frozen.{name} must be what the run has looked at so far, "
                f"{reference['source']} ({reference['model'][:16]}…), got {now['source']} "
                f"({now['model'][:16]}…); put those weights back, or pass --accept-config-changes "
                "to go on with these"
            )
    return frozen


def _planned(
    config: ConfigDict, inputs: Inputs, found: Found | None, frozen: Mapping[str, Frozen]
) -> Plan:
    """The training, from where the data of the newest checkpoint stand."""
    place = {} if found is None else dict(step=found.step, samples=found.loader["samples"])
    foreign = {name: each.kwargs for name, each in frozen.items()}
    planned = plan(
        config,
        samples_per_epoch=inputs.loader.samples_per_epoch,
        frozen=foreign,
        **place,
    ).with_frozen({name: each.params for name, each in frozen.items()})
    planned.lengths.every(config.checkpoint.every)
    check_export(config, with_frozen(planned.model_kwargs, foreign))
    for step in (planned.position.step, planned.steps - 1):
        training = planned.training_at(step)
        training.trace(batch_shapes(config, training.fields))  # what the first call would do: now
    if found is not None:
        inputs.loader.set_state(found.loader)
    return planned
