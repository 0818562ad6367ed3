"""A plan in words and numbers: for the terminal, as JSON, as a page."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vlp.planning.collectives import by_kind
from vlp.planning.plan import Plan


@dataclasses.dataclass(frozen=True)
class Run:
    """What a whole run takes, at a plan's pace.

    Attributes:
        steps: of it.
        price: of a chip-hour; 0 where it is not known.
    """

    steps: int
    price: float = 0.0


def as_json(plan: Plan, run: Run) -> dict[str, Any]:
    """All figures of a plan, in bytes, seconds and FLOPs."""
    found = {
        "topology": plan.topology,
        "devices": plan.devices,
        "mesh": dict(plan.mesh),
        "global_batch": plan.global_batch,
        "memory": plan.memory.parts()
        | {"total": plan.memory.total, "capacity": plan.memory.capacity, "fits": plan.memory.fits},
        "model_flops": plan.model_flops,
        "collectives": [dataclasses.asdict(each) for each in plan.collectives],
        "findings": [dataclasses.asdict(each) for each in plan.findings],
    }
    if plan.estimate is not None:
        seconds = plan.estimate.seconds
        found["estimate"] = dataclasses.asdict(plan.estimate) | {
            "seconds": seconds,
            "compiler_seconds": plan.estimate.compiler_seconds,
            "mfu": plan.mfu,
            "pairs_per_second": plan.global_batch / seconds,
            "days": run.steps * seconds / 86400,
            "cost": run.steps * seconds / 3600 * plan.devices * run.price,
        }
    return found


def summary(plan: Plan, run: Run) -> list[tuple[str, str]]:
    """The lines that one wants to see first: a name and what it is."""
    memory = plan.memory
    verdict = "fits" if memory.fits else "does NOT fit"
    rows = [
        ("machine", f"{plan.topology}, {plan.devices} devices, mesh {_mesh(plan.mesh)}"),
        ("memory", f"{_gb(memory.total)} of {_gb(memory.capacity)} a device: {verdict}"),
        *((f"  {kind}", _gb(size)) for kind, size in memory.parts().items() if size),
        ("model FLOPs", f"{plan.model_flops / plan.devices / 1e12:,.2f} T a device and step"),
    ]
    if plan.estimate is None:
        return rows
    spent = plan.estimate
    hardware = sum(spent.flops.values())
    rows += [
        ("hardware FLOPs", f"{hardware / 1e12:,.2f} T, with what is computed again"),
        ("step", f"{_ms(spent.seconds)} by roofline: {_ms(spent.compute)} computing, "
                 f"{_ms(spent.exposed)} waiting for exchanges ({_ms(spent.hidden)} hidden)"),
        *([("", f"{_ms(spent.compiler_seconds)} by the compiler's cycles")] if spent.compiler else []),
        ("MFU", f"{plan.mfu:.1%}"),
        ("pairs", f"{plan.global_batch / spent.seconds:,.0f} a second, "
                  f"{plan.global_batch / spent.seconds / plan.devices:,.1f} a device"),
        ("run", f"{run.steps:,} steps, {run.steps * spent.seconds / 86400:,.2f} days" + _cost(plan, run)),
    ]  # fmt: skip
    return rows


def exchanges(plan: Plan) -> list[Sequence[str]]:
    """A row for each kind of exchange: kind, axes, link, how often, MB a step, ms alone."""
    return [
        (
            kind,
            "+".join(axes),
            link,
            f"{sum(each.times for each in found):,}",
            f"{sum(each.bytes * each.times for each in found) / 1e6:,.1f}",
            f"{sum(each.seconds * each.times for each in found) * 1e3:,.2f}",
        )
        for (kind, axes, link), found in by_kind(plan.collectives).items()
    ]


def _cost(plan: Plan, run: Run) -> str:
    if not run.price or plan.estimate is None:
        return ""
    hours = run.steps * plan.estimate.seconds / 3600 * plan.devices
    return f", {hours:,.0f} chip-hours, {hours * run.price:,.0f} at {run.price:g} each"


def _mesh(mesh: Mapping[str, int]) -> str:
    return " x ".join(f"{name} {size}" for name, size in mesh.items())


def _gb(size: float) -> str:
    return f"{size / 1e9:,.2f} GB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"
