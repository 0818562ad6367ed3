"""What devices send each other in a compiled program: how much, along which axis, how long."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from vlp.planning.cost import COLLECTIVES
from vlp.planning.hardware import Chip
from vlp.planning.hlo import Array, Instruction, Program, Visit
from vlp.planning.topology import Topology

Kind = tuple[str, tuple[str, ...], str]  # what, along which axes, over which link


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange.

    Attributes:
        kind: such as "all-gather".
        axes: of the mesh along which it goes; "?" where its groups are no axes'.
        link: "fast" within slice or host, "network" beyond.
        devices: in a group.
        bytes: of the whole that a device has afterwards (or gives, where it is scattered).
        dtype, shape, largest: of its largest array, as several go together; the last in bytes.
        times: how often a step.
        depth: in how many loops.
        seconds: of one, if nothing else goes on.
        source: where it was written.
        instruction: its name.
    """

    kind: str
    axes: tuple[str, ...]
    link: str
    devices: int
    bytes: int
    dtype: str
    shape: tuple[int, ...]
    largest: int
    times: int
    depth: int
    seconds: float
    source: str
    instruction: str


def collectives(program: Program, *, mesh: Mesh, topology: Topology) -> list[Collective]:
    """All exchanges of a program, in the order in which they are begun.

    One that a compiler spreads over several fusions, into loops too, counts where it is begun.
    """
    found: list[Collective] = []
    begun: dict[Any, str] = {}
    for visit in program.visits():
        for each in visit.computation:
            inside = [
                inner
                for name in each.called.get("calls", ())
                for inner in program.computations[name]
            ]
            for instruction in (each, *inside):
                kind = instruction.opcode.removesuffix("-start")
                if kind not in COLLECTIVES:
                    continue
                if instruction is not each and _is_scattering(each):
                    kind = "reduce-scatter"
                # Only a piece in a fusion goes on with what was begun; channels alone do not
                # tell, for all exchanges of `shard_map` have the same one.
                channel = instruction.attribute(r"channel_id=(\d+)") or instruction.name
                key = (channel, kind, tuple(array.shape for array in instruction.outputs))
                if instruction is not each and begun.get(key, instruction.name) != instruction.name:
                    continue
                begun[key] = instruction.name
                found.append(_collective(program, visit, instruction, kind, mesh, topology))
    return found


def _collective(
    program: Program,
    visit: Visit,
    instruction: Instruction,
    kind: str,
    mesh: Mesh,
    topology: Topology,
) -> Collective:
    order = list(mesh.devices.flat)  # by which programs number their devices
    groups = _groups(instruction, len(order))
    near = all(len({topology.near(order[n]) for n in group}) == 1 for group in groups)
    arrays: Sequence[Array] = instruction.outputs
    if instruction.opcode.endswith("-start") and len(arrays) > 1:
        arrays = _larger_half(arrays)
    whole = len(groups[0]) if _is_shown_scattered(instruction) else 1
    sent = whole * sum(array.bytes for array in arrays)
    largest = max(arrays, key=lambda array: array.bytes)
    return Collective(
        kind=kind,
        axes=_axes(groups, mesh),
        link="fast" if near else "network",
        devices=len(groups[0]),
        bytes=sent,
        dtype=largest.dtype,
        shape=largest.shape,
        largest=whole * largest.bytes,
        times=visit.times,
        depth=visit.depth,
        seconds=_seconds(kind, sent, [topology.near(order[n]) for n in groups[0]], topology.chip),
        source=program.source(instruction),
        instruction=instruction.name,
    )


def _is_scattering(fusion: Instruction) -> bool:
    """Whether what a fusion reduces is scattered by it: so a TPU's compiler writes that."""
    return any(name.startswith("all-reduce-scatter") for name in fusion.called.get("calls", ()))


def _is_shown_scattered(instruction: Instruction) -> bool:
    return instruction.opcode == "reduce-scatter"


def _larger_half(arrays: Sequence[Array]) -> Sequence[Array]:
    """Of the operands and results that a start has as outputs, those that tell the whole."""
    arrays = [array for array in arrays if array.shape]
    half = len(arrays) // 2
    if len(arrays) % 2 or not half:
        return arrays
    first, second = arrays[:half], arrays[half:]
    return max(first, second, key=lambda part: sum(array.bytes for array in part))


def _groups(instruction: Instruction, devices: int) -> list[tuple[int, ...]]:
    """Which devices exchange with which: numbers of places in the program's device list."""
    if pairs := instruction.attribute(r"source_target_pairs=\{(\{.*?\})\}"):
        return [_numbers(pair) for pair in re.findall(r"\{([\d,]+)\}", pairs)]
    text = instruction.attribute(
        r"replica_groups=(mesh\[[^\]]*\](?:, device_ids=\((?:\[[\d,]*\](?:T\([\d,]*\))?|[\d,]*)\))?"
        r"(?: \{[^}]*\})?|\[[^\]]*\](?:<=\[[\d,]*\](?:T\([\d,]*\))?)?|\{(?:\{[\d,]*\},?)*\})"
    )
    if text.startswith("mesh"):
        return _mesh_groups(text)
    if iota := re.match(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text):
        order = _ordered(iota[2], iota[3])
        return [tuple(row) for row in order.reshape(_numbers(iota[1])).tolist()]
    listed = [_numbers(group) for group in re.findall(r"\{([\d,]+)\}", text)]
    return listed or [tuple(range(devices))]


def _ordered(shape: str, transposed: str | None) -> np.ndarray:
    """Numbers of devices as programs write them: those of a shape, whose axes change places."""
    order = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
    return order.transpose(_numbers(transposed)) if transposed else order


def _mesh_groups(text: str) -> list[tuple[int, ...]]:
    """Of axes of a mesh: "mesh['a'=4,'b'=2] {'a'}", its devices in order or as it says."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", text)}
    along = re.findall(r"'([^']+)'", text.rpartition("{")[2])
    names = list(sizes)
    order = np.arange(math.prod(sizes.values()))
    if iota := re.search(r"device_ids=\(\[([\d,]*)\](?:T\(([\d,]*)\))?\)", text):
        order = _ordered(iota[1], iota[2])
    elif listed := re.search(r"device_ids=\(([\d,]+)\)", text):
        order = np.asarray(_numbers(listed[1]))
    order = order.reshape(list(sizes.values()))
    last = [names.index(name) for name in along]
    first = [axis for axis in range(len(names)) if axis not in last]
    members = math.prod(sizes[name] for name in along)
    return [tuple(row) for row in order.transpose(first + last).reshape(-1, members).tolist()]


def _axes(groups: Sequence[tuple[int, ...]], mesh: Mesh) -> tuple[str, ...]:
    """The axes of the mesh along which the groups lie."""
    places = {n: index for n, index in enumerate(np.ndindex(mesh.devices.shape))}
    differs = [
        len({places[device][axis] for device in group}) > 1
        for axis in range(mesh.devices.ndim)
        for group in groups[:1]
    ]
    names = tuple(name for name, yes in zip(mesh.axis_names, differs, strict=True) if yes)
    return names or ("?",)


def _seconds(kind: str, sent: int, places: Sequence[Any], chip: Chip) -> float:
    """Bytes through the links, by the best known schedule of each kind.

    A ring over n devices passes (n - 1) / n of the whole through each; a reduction that all are
    told of passes it twice. Beyond slice or host devices pass each other's own parts only: those
    that are left when the devices on the same side have shared the whole among them.

    Args:
        sent: bytes of the whole.
        places: where each device of a group is: those of one place reach each other fast.
    """
    apart = len(set(places))
    together = len(places) // apart
    if kind == "collective-permute":
        return sent / (chip.link if apart == 1 else chip.network) + chip.overhead
    within = (together - 1) / together / chip.link
    beyond = (apart - 1) / apart / together / chip.network
    return (2 if kind == "all-reduce" else 1) * sent * (within + beyond) + chip.overhead


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n)


def by_kind(found: Sequence[Collective]) -> Mapping[Kind, list[Collective]]:
    """The exchanges of the same kind, axes and link together."""
    groups: dict[Kind, list[Collective]] = {}
    for each in found:
        groups.setdefault((each.kind, each.axes, each.link), []).append(each)
    return groups
