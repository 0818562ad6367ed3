"""What a run says before it begins: one look tells whether it is the one that was meant."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import traverse_util
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlp.parallel.mesh import said
from vlp.remote import Place
from vlp.run.build import Plan
from vlp.run.sets import data_name
from vlp.training.loop.account import Account
from vlp.version import __version__


def say_start(
    config: ConfigDict,
    plan: Plan,
    *,
    samples: int,
    step: int,
    workdir: Place,
    console: Console | None = None,
) -> None:
    """Prints model, data, devices, precision, length and place of a run, on process 0.

    Args:
        config: of the run.
        plan: made of it.
        samples: of the training data.
        step: where it goes on.
        workdir: its folder.
        console: by default standard output.
    """
    if jax.process_index() != 0:
        return
    table = Table.grid(padding=(0, 2))
    for name, value in _facts(config, plan, samples=samples, step=step, workdir=workdir).items():
        table.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    console = console or Console(highlight=False)
    console.print(f"vlp {__version__}")
    console.print(table)


def say_end(account: Account) -> None:
    """Prints what the time of all starts went into, in one line, on process 0."""
    if jax.process_index() == 0:
        facts = account.facts()
        starts = facts.pop("starts")
        said = ", ".join(f"{name} {spent}" for name, spent in facts.items())
        print(f"{'time':12} of {starts} start{'s' * (starts != '1')}: {said}")


def _facts(
    config: ConfigDict, plan: Plan, *, samples: int, step: int, workdir: Place
) -> dict[str, str]:
    batch = config.train.global_batch_size
    whole, seen = plan.position.samples_at(plan.steps), plan.position.samples_at(step)
    facts = {
        "objective": config.objective.name,
        "model": _model(plan.training.abstract.params),
        "data": f"{data_name(config)}, {samples:,} samples",
        "devices": _devices(plan.training.mesh),
        "precision": _precision(plan.model_kwargs),
        "batch": f"{batch:,} samples a step",
        "length": f"{plan.steps:,} steps, {whole:,} samples, {whole / samples:,.4g} epochs",
        "evaluations": ", ".join(config.evals) or "none",
        "judged": "the weights" if plan.evaluated == "params" else "the average of the weights",
        "workdir": str(workdir),
    }
    for name, params in plan.training.frozen.items():
        facts[f"looks at {name}"] = f"{config.frozen[name].path}, {_model(params)}"
    if config.optim.freeze:
        facts["frozen"] = ", ".join(config.optim.freeze)
    facts |= {f"group {name}": line for name, line in plan.groups.items()}
    if step:
        facts["resumed"] = f"at step {step:,}, epoch {seen / samples:,.4g}"
    return facts


def _model(params: Any) -> str:
    sizes: dict[str, int] = {}
    for path, leaf in traverse_util.flatten_dict(params).items():
        sizes[str(path[0])] = sizes.get(str(path[0]), 0) + leaf.size
    parts = ", ".join(f"{name} {_count(size)}" for name, size in sizes.items() if size > 1000)
    return f"{_count(sum(sizes.values()))} parameters ({parts})"


def _count(number: int) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _devices(mesh: Any) -> str:
    kind = mesh.devices.flat[0].device_kind
    processes = jax.process_count()
    return f"{mesh.size} {kind}, mesh {said(mesh.shape)}" + (
        f", {processes} processes" * (processes > 1)
    )


def _precision(model: Mapping[str, Any]) -> str:
    towers = {name: model[name] for name in ("image", "text", "audio") if model.get(name)}
    kinds = {name: tower.get("dtype", "float32") for name, tower in towers.items()}
    said = ", ".join(f"{name} in {dtype}" for name, dtype in kinds.items())
    if len(set(kinds.values())) == 1:
        said = f"in {next(iter(kinds.values()))}"
    return f"computes {said}; parameters in float32"
