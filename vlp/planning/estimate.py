"""How long one step takes: a roofline over its instructions, and the compiler's own estimate."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from vlp.planning.collectives import Collective
from vlp.planning.cost import Cost, cost, estimated_cycles
from vlp.planning.hardware import Chip
from vlp.planning.hlo import Instruction, Program, Visit


@dataclasses.dataclass(frozen=True)
class Piece:
    """The instructions of one kind from one place.

    Attributes:
        source: where they were written.
        seconds: of a step.
        flops, bytes: of a step.
        bound: "compute" or "memory", whichever takes longer.
    """

    source: str
    seconds: float
    flops: float
    bytes: float
    bound: str


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of a step on one device.

    Attributes:
        compute: of all but exchanges, by the roofline.
        compiler: likewise by the compiler's cycles; 0 where it does not estimate them.
        exposed: of exchanges for which nothing else is left to do meanwhile.
        hidden: of exchanges behind which something is computed.
        flops: by the dtype of the operands.
        bytes: of the device's memory.
        pieces: the longest first.
    """

    compute: float
    compiler: float
    exposed: float
    hidden: float
    flops: Mapping[str, float]
    bytes: float
    pieces: Sequence[Piece]

    @property
    def seconds(self) -> float:
        """Of a step, by the roofline and what it cannot hide."""
        return self.compute + self.exposed

    @property
    def compiler_seconds(self) -> float:
        """Likewise by the compiler's cycles; 0 where it does not estimate them."""
        return self.compiler and self.compiler + self.exposed


def estimate(program: Program, *, chip: Chip, exchanges: Sequence[Collective]) -> Estimate:
    """What a step takes, from its instructions in their order.

    An exchange goes on until it is waited for; what is computed in the meantime hides it, and
    exchanges on their way at once follow each other.

    Args:
        program: the compiled step.
        chip: on which it runs.
        exchanges: its collectives.
    """
    known = {each.instruction: each for each in exchanges}
    flops: dict[str, float] = {}
    pieces: dict[tuple[str, str], list[float]] = {}
    compute = compiler = exposed = hidden = read = 0.0
    for visit in program.visits():
        waiting: dict[str, float] = {}
        last = _last_uses(program, visit, known)
        for each in visit.computation:
            spent = cost(program, visit.computation, each)
            seconds, bound = _roofline(spent, chip)
            compute += seconds * visit.times
            cycles = estimated_cycles(each) if chip.clock else 0
            compiler += cycles / chip.clock * visit.times if cycles else 0.0
            read += spent.bytes * visit.times
            for dtype, count in spent.flops.items():
                flops[dtype] = flops.get(dtype, 0.0) + count * visit.times
            _note(pieces, program.source(each), bound, spent, seconds, visit.times)
            hidden += _pass(waiting, seconds + _inside(program, each, chip)) * visit.times
            for name in _exchanges_in(program, each, known):
                waiting.setdefault(name, known[name].seconds)
            for name in [name for name in waiting if last.get(name) == each.name]:
                exposed += waiting.pop(name) * visit.times
        exposed += sum(waiting.values()) * visit.times
    return Estimate(compute, compiler, exposed, hidden, flops, read, _longest(pieces))


def _roofline(spent: Cost, chip: Chip) -> tuple[float, str]:
    peaks = ((count, chip.peak[dtype]) for dtype, count in spent.flops.items())
    products = sum(count / (peak * chip.attained) for count, peak in peaks)
    memory = spent.bytes / chip.bandwidth
    if not products and not memory:
        return 0.0, "memory"
    begin = chip.product_overhead if products else chip.overhead
    return max(products, memory) + begin, "compute" if products > memory else "memory"


def _inside(program: Program, instruction: Instruction, chip: Chip) -> float:
    """Seconds that a loop or call computes, while exchanges around it go on."""
    seconds = 0.0
    for visit in program.inside(instruction):
        for each in visit.computation:
            spent = cost(program, visit.computation, each)
            seconds += _roofline(spent, chip)[0] * visit.times
    return seconds


def _pass(waiting: dict[str, float], seconds: float) -> float:
    """Lets time go by for what is on its way, first come, first served; how much that used."""
    left = seconds
    for name in waiting:
        used = min(left, waiting[name])
        waiting[name] -= used
        left -= used
    return seconds - left


def _exchanges_in(
    program: Program, instruction: Instruction, known: Mapping[str, Collective]
) -> Iterable[str]:
    names = [instruction.name]
    for called in instruction.called.get("calls", ()):
        names += program.computations[called].instructions
    return [name for name in names if name in known]


def _last_uses(program: Program, visit: Visit, known: Mapping[str, Collective]) -> dict[str, str]:
    """By exchange: the instruction that waits for it."""
    last: dict[str, str] = {}
    channels: dict[str, str] = {}
    for each in visit.computation:
        inside = [
            inner for name in each.called.get("calls", ()) for inner in program.computations[name]
        ]
        for instruction in (each, *inside):
            channel = instruction.attribute(r"channel_id=(\d+)")
            if instruction.name in known:
                channels[channel or instruction.name] = instruction.name
                last[instruction.name] = each.name
            elif channel in channels:
                last[channels[channel]] = each.name
        if each.opcode.endswith("-done") and each.operands and each.operands[0] in last:
            last[each.operands[0]] = each.name
    return last


def _note(
    pieces: dict[tuple[str, str], list[float]],
    source: str,
    bound: str,
    spent: Cost,
    seconds: float,
    times: int,
) -> None:
    if seconds:
        found = pieces.setdefault((source, bound), [0.0, 0.0, 0.0])
        found[0] += seconds * times
        found[1] += sum(spent.flops.values()) * times
        found[2] += spent.bytes * times


def _longest(pieces: Mapping[tuple[str, str], Sequence[float]]) -> list[Piece]:
    found = [
        Piece(source, seconds, flops, read, bound)
        for (source, bound), (seconds, flops, read) in pieces.items()
    ]
    return sorted(found, key=lambda piece: -piece.seconds)
