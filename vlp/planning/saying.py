"""A plan in words and numbers: for the terminal, the page, and as JSON."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from vlp.parallel import mesh
from vlp.planning.collectives import by_kind
from vlp.planning.estimate import Estimate, Piece
from vlp.planning.feeding import BYTES_A_PICTURE, Feed, feed
from vlp.planning.plan import Plan

EXCHANGES = ("exchange", "axes", "link", "a step", "MB", "ms alone", "ms hidden")
Row = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a whole run is made of, beside a plan.

    Attributes:
        steps: of it.
        price: of a chip-hour; 0 where it is not known.
        bytes_a_picture: as stored, on average.
    """

    steps: int
    price: float = 0.0
    bytes_a_picture: float = BYTES_A_PICTURE


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
        hidden = plan.estimate.hidden
        found["estimate"] = dataclasses.asdict(plan.estimate) | {
            "hidden": sum(hidden.values()),
            "hidden_by_exchange": dict(hidden),
            "seconds": plan.estimate.seconds,
            "compiler_seconds": plan.estimate.compiler_seconds,
            "measured_seconds": plan.estimate.measured_seconds,
            "mfu": plan.mfu,
            "pairs_per_second": plan.pairs_per_second,
            "days": days(plan, run),
            "cost": hours(plan, run) * run.price,
            "feed": dataclasses.asdict(feed(plan, bytes_a_picture=run.bytes_a_picture)),
        }
    return found


def summary(plan: Plan, run: Run) -> list[Row]:
    """The lines that one wants to see first: a name and what it is."""
    memory = plan.memory
    verdict = "fits" if memory.fits else "does NOT fit"
    rows = [
        ("machine", f"{plan.topology}, {plan.devices} devices, mesh {mesh.said(plan.mesh)}"),
        ("memory", f"{gb(memory.total)} of {gb(memory.capacity)} a device: {verdict}"),
        *((f"  {kind}", gb(size)) for kind, size in memory.parts().items() if size),
        ("model FLOPs", f"{plan.model_flops / plan.devices / 1e12:,.2f} T a device and step"),
    ]
    if plan.estimate is None:
        return rows
    return [*rows, *times(plan, plan.estimate), *whole_run(plan, run)]


def times(plan: Plan, spent: Estimate) -> list[Row]:
    """How long a step takes, by each way to reckon it."""
    flops = sum(spent.flops.values())
    rows = [
        ("hardware FLOPs", f"{flops / 1e12:,.2f} T, recomputed ones too"),
        ("step", f"{ms(spent.seconds)} by a roofline"),
        ("  computing", ms(spent.compute)),
        (
            "  exchanging",
            f"{ms(spent.exposed)}, and {ms(sum(spent.hidden.values()))} behind what is computed",
        ),
    ]
    if spent.compiler:
        rows.append(("  by cycles", f"{ms(spent.compiler_seconds)}, as the compiler counts them"))
    if spent.measured:
        share = f"{spent.measured_flops / flops:.0%} of the FLOPs"
        said = f"{ms(spent.measured_seconds)}, {share} at rates measured for their shapes"
        rows.append(("  by shapes", said))
    per_device = plan.pairs_per_second / plan.devices
    pairs = f"{plan.pairs_per_second:,.0f} a second, {per_device:,.1f} a device"
    return [*rows, ("MFU", f"{plan.mfu:.1%}"), ("pairs", pairs)]


def whole_run(plan: Plan, run: Run) -> list[Row]:
    """How long a run takes, what it costs, and what it reads."""
    spent = hours(plan, run)
    cost = f", {spent * run.price:,.0f} at {run.price:g} each" if run.price else ""
    found = feed(plan, bytes_a_picture=run.bytes_a_picture)
    taken = duration(days(plan, run))
    return [
        ("run", f"{run.steps:,} steps, {taken}, {spent:,.0f} chip-hours{cost}"),
        ("onto devices", f"{rate(found.moved)}, {rate(found.moved / found.hosts)} a host"),
        ("from storage", _storage(found, run)),
        ("decoding", _decoding(found)),
    ]


def exchanges(plan: Plan) -> list[Sequence[str]]:
    """A row of `EXCHANGES` for each kind of exchange: how often, bytes and times are a step's."""
    hidden = plan.estimate.hidden if plan.estimate else {}
    return [
        (
            kind,
            "+".join(axes),
            link,
            f"{sum(each.times for each in found):,}",
            f"{sum(each.bytes * each.times for each in found) / 1e6:,.1f}",
            f"{sum(each.seconds * each.times for each in found) * 1e3:,.2f}",
            f"{sum(hidden.get(each.instruction, 0.0) for each in found) * 1e3:,.2f}",
        )
        for (kind, axes, link), found in by_kind(plan.collectives).items()
    ]


def by_source(spent: Estimate) -> list[Piece]:
    """The pieces from one place together, the longest first; bound by what most of it is."""
    found: dict[str, list[Piece]] = {}
    for piece in spent.pieces:
        found.setdefault(short_source(piece.source), []).append(piece)
    whole = [
        Piece(
            source=source or "not told",
            seconds=sum(piece.seconds for piece in pieces),
            flops=sum(piece.flops for piece in pieces),
            bytes=sum(piece.bytes for piece in pieces),
            bound=pieces[0].bound,
        )
        for source, pieces in found.items()
    ]
    return sorted(whole, key=lambda piece: -piece.seconds)


def short_source(source: str) -> str:
    """A "file:line" from its package on."""
    return re.sub(r".*/(?=vlp/)", "", source)


def days(plan: Plan, run: Run) -> float:
    """Of a whole run; 0 where no time was estimated."""
    return run.steps * plan.estimate.seconds / 86400 if plan.estimate else 0.0


def duration(length: float) -> str:
    """Days in words, or hours where it is less than one."""
    return f"{length:,.2f} days" if length >= 1 else f"{24 * length:,.1f} hours"


def hours(plan: Plan, run: Run) -> float:
    """Chip-hours of a whole run."""
    return days(plan, run) * 24 * plan.devices


def gb(size: int | float) -> str:
    """Bytes as gigabytes."""
    return f"{size / 1e9:,.2f} GB"


def ms(seconds: int | float) -> str:
    """Seconds as milliseconds."""
    return f"{seconds * 1e3:,.1f} ms"


def rate(size: int | float) -> str:
    """Bytes a second."""
    return f"{gb(size)}/s" if size >= 1e9 else f"{size / 1e6:,.1f} MB/s"


def _storage(found: Feed, run: Run) -> str:
    taken = f" at {run.bytes_a_picture / 1e3:,.0f} kB a picture" if found.pictures else ""
    return f"{rate(found.stored)}{taken}, {rate(found.stored / found.hosts)} a host"


def _decoding(found: Feed) -> str:
    cores = f"{found.cores:,.0f} cores, {found.cores / found.hosts:,.1f} on each of {found.hosts}"
    return f"{found.pictures:,.0f} pictures/s, {cores} hosts" if found.pictures else "no pictures"
