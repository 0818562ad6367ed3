"""A plan in words and numbers: for the terminal, and as JSON."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from vlp.parallel.mesh import said
from vlp.planning.collectives import by_kind
from vlp.planning.estimate import Estimate
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
            "days": _days(plan, run),
            "cost": _days(plan, run) * 24 * plan.devices * run.price,
        }
    return found


def summary(plan: Plan, run: Run) -> list[tuple[str, str]]:
    """The lines that one wants to see first: a name and what it is."""
    memory = plan.memory
    verdict = "fits" if memory.fits else "does NOT fit"
    rows = [
        ("machine", f"{plan.topology}, {plan.devices} devices, mesh {said(plan.mesh)}"),
        ("memory", f"{_gb(memory.total)} of {_gb(memory.capacity)} a device: {verdict}"),
        *((f"  {kind}", _gb(size)) for kind, size in memory.parts().items() if size),
        ("model FLOPs", f"{plan.model_flops / plan.devices / 1e12:,.2f} T a device and step"),
    ]
    if plan.estimate is None:
        return rows
    spent, pairs = plan.estimate, plan.global_batch / plan.estimate.seconds
    return [
        *rows,
        ("hardware FLOPs", f"{sum(spent.flops.values()) / 1e12:,.2f} T, recomputed ones too"),
        ("step", f"{_ms(spent.seconds)} by a roofline"),
        ("  computing", _ms(spent.compute)),
        ("  exchanging", f"{_ms(spent.exposed)}, and {_ms(spent.hidden)} behind what is computed"),
        *_by_cycles(spent),
        ("MFU", f"{plan.mfu:.1%}"),
        ("pairs", f"{pairs:,.0f} a second, {pairs / plan.devices:,.1f} a device"),
        ("run", f"{run.steps:,} steps, {_days(plan, run):,.2f} days{_cost(plan, run)}"),
    ]


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


def _by_cycles(spent: Estimate) -> list[tuple[str, str]]:
    if not spent.compiler:
        return []
    return [("", f"{_ms(spent.compiler_seconds)} by the compiler's own estimate of cycles")]


def _days(plan: Plan, run: Run) -> float:
    return run.steps * plan.estimate.seconds / 86400 if plan.estimate else 0.0


def _cost(plan: Plan, run: Run) -> str:
    hours = _days(plan, run) * 24 * plan.devices
    said = f", {hours * run.price:,.0f} at {run.price:g} each" if run.price else ""
    return f", {hours:,.0f} chip-hours{said}"


def _gb(size: int | float) -> str:
    return f"{size / 1e9:,.2f} GB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"
