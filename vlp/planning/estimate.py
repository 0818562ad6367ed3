"""How long one step takes: a roofline over its instructions, and the compiler's own estimate."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from vlp.planning.collectives import Collective
from vlp.planning.cost import Cost, cost, estimated_cycles
from vlp.planning.hardware import Chip
from vlp.planning.hlo import Instruction, Program, Visit
from vlp.planning.products import measured_rate


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
        measured: likewise by the roofline, but with products at the rates that XLA measured for
            their shapes; 0 where none of them was.
        exposed: of exchanges for which nothing else is left to do meanwhile.
        hidden: of each exchange, behind which something is computed, by its instruction.
        flops: by the dtype of the operands.
        measured_flops: those of shapes that were measured.
        bytes: of the device's memory.
        pieces: the longest first.
    """

    compute: float
    compiler: float
    measured: float
    exposed: float
    hidden: Mapping[str, float]
    flops: Mapping[str, float]
    measured_flops: float
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

    @property
    def measured_seconds(self) -> float:
        """Likewise with measured products; 0 where none was measured."""
        return self.measured and self.measured + self.exposed


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
    hidden: dict[str, float] = {}
    pieces: dict[tuple[str, str], list[float]] = {}
    compute = compiler = measured = measured_flops = exposed = read = 0.0
    for visit in program.visits():
        waiting: dict[str, float] = {}
        last = _last_uses(program, visit, known)
        for each in visit.computation:
            spent = cost(program, visit.computation, each)
            seconds, bound = _roofline(spent, chip)
            compute += seconds * visit.times
            compiler += _by_cycles(each, spent, seconds, chip) * visit.times
            of_shape, found = _by_shape(spent, chip)
            measured += (of_shape or seconds) * visit.times
            measured_flops += found * visit.times
            read += spent.bytes * visit.times
            for product in spent.products:
                so_far = flops.get(product.dtype, 0.0)
                flops[product.dtype] = so_far + product.flops * visit.times
            _note(pieces, program.source(each), bound, spent, seconds, visit.times)
            _pass(waiting, seconds + _inside(program, each, chip), hidden, visit.times)
            for name in _exchanges_in(program, each, known):
                waiting.setdefault(name, known[name].seconds)
            for name in [name for name in waiting if last.get(name) == each.name]:
                exposed += waiting.pop(name) * visit.times
        exposed += sum(waiting.values()) * visit.times
    return Estimate(
        compute=compute,
        compiler=compiler,
        measured=measured if measured_flops else 0.0,
        exposed=exposed,
        hidden=hidden,
        flops=flops,
        measured_flops=measured_flops,
        bytes=read,
        pieces=_longest(pieces),
    )


def _roofline(spent: Cost, chip: Chip) -> tuple[float, str]:
    products = sum(
        product.flops / (chip.peak[product.dtype] * chip.attained) for product in spent.products
    )
    memory = spent.bytes / chip.bandwidth
    if not products and not memory:
        return 0.0, "memory"
    begin = chip.product_overhead if products else chip.overhead
    return max(products, memory) + begin, "compute" if products > memory else "memory"


def _by_cycles(instruction: Instruction, spent: Cost, seconds: float, chip: Chip) -> float:
    """Seconds as the compiler estimates them; of a kernel, which it does not know, the roofline."""
    if not chip.clock:
        return 0.0
    is_kernel = instruction.opcode == "custom-call" and spent.products
    cycles = estimated_cycles(instruction)
    return seconds if is_kernel and not cycles else cycles / chip.clock


def _by_shape(spent: Cost, chip: Chip) -> tuple[float, float]:
    """Seconds at the rates that were measured for all its products' shapes, and their FLOPs; zeros
    where one was not. What was measured has its beginning and end in it."""
    rates = [measured_rate(product, chip) for product in spent.products]
    if not rates or not all(rates):
        return 0.0, 0.0
    pairs = zip(spent.products, rates, strict=True)
    products = sum(product.flops / rate for product, rate in pairs)
    return max(products, spent.bytes / chip.bandwidth), spent.flops


def _inside(program: Program, instruction: Instruction, chip: Chip) -> float:
    """Seconds that a loop or call computes, while exchanges around it go on."""
    seconds = 0.0
    for visit in program.inside(instruction):
        for each in visit.computation:
            spent = cost(program, visit.computation, each)
            seconds += _roofline(spent, chip)[0] * visit.times
    return seconds


def _pass(waiting: dict[str, float], seconds: float, hidden: dict[str, float], times: int) -> None:
    """Lets time go by for what is on its way, first come, first served; notes what that hides."""
    left = seconds
    for name in waiting:
        used = min(left, waiting[name])
        waiting[name] -= used
        left -= used
        hidden[name] = hidden.get(name, 0.0) + used * times


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
        found[1] += spent.flops * times
        found[2] += spent.bytes * times


def _longest(pieces: Mapping[tuple[str, str], Sequence[float]]) -> list[Piece]:
    found = [
        Piece(source, seconds, flops, read, bound)
        for (source, bound), (seconds, flops, read) in pieces.items()
    ]
    return sorted(found, key=lambda piece: -piece.seconds)
