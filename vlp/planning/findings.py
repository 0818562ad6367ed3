"""What a compiled step does that it should not: each with the line that made it."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from vlp.planning.collectives import Collective
from vlp.planning.hlo import Program

MIN_BYTES = 2**20  # what is smaller costs nothing that one would see


@dataclasses.dataclass(frozen=True)
class Finding:
    """One of them.

    Attributes:
        what: a sentence.
        source: "file:line"; empty if unknown.
        bytes: by which findings are ordered.
    """

    what: str
    source: str
    bytes: int | float


@dataclasses.dataclass(frozen=True)
class Facts:
    """What findings are found by.

    Attributes:
        layer_bytes: of the largest weight of one layer, as it is computed with.
        shapes: of all parameters, and of one layer's.
        tables: those of tables of tokens.
        low: whether a dtype of two bytes was asked for.
        whole: bytes of parameters that every device holds whole though the mesh could divide them,
            by name.
    """

    layer_bytes: int | float
    shapes: Collection[tuple[int, ...]]
    tables: Collection[tuple[int, ...]]
    low: bool
    whole: Mapping[str, float]


def findings(program: Program, exchanges: Sequence[Collective], facts: Facts) -> list[Finding]:
    """All findings of a step, those of most bytes first."""
    found = [
        *_in_loops(exchanges, facts),
        *_gathered(exchanges, facts),
        *_precise(program, facts),
        *_whole(facts),
        *(
            Finding("a loop of a length that the program does not tell counts once", source, 0)
            for source in map(program.source, program.endless())
        ),
    ]
    return sorted(set(found), key=lambda finding: -finding.bytes)


def _whole(facts: Facts) -> Iterator[Finding]:
    for name, size in facts.whole.items():
        what = f"parameter {name}, {_mb(size)}, is whole on every device, and fsdp could divide it"
        yield Finding(what, "", size)


def _in_loops(exchanges: Sequence[Collective], facts: Facts) -> Iterator[Finding]:
    for each in exchanges:
        if each.depth and each.largest > 1.05 * facts.layer_bytes:
            yield Finding(
                f"{each.kind} over {'+'.join(each.axes)} of {_mb(each.largest)} in a loop of "
                f"{each.times}, where the largest weight of a layer has {_mb(facts.layer_bytes)}",
                each.source,
                each.largest * each.times,
            )


def _gathered(exchanges: Sequence[Collective], facts: Facts) -> Iterator[Finding]:
    """What is gathered whole outside of loops: tables of tokens, and what is no parameter."""
    for each in exchanges:
        if each.kind != "all-gather" or each.depth or each.largest <= MIN_BYTES:
            continue
        shape = ",".join(map(str, each.shape))
        if each.shape in facts.tables:
            what = f"the table [{shape}] is gathered whole, {_mb(each.largest)}"
            yield Finding(what, each.source, each.largest)
        elif each.shape not in facts.shapes:
            what = (
                f"{each.dtype}[{shape}], {_mb(each.largest)}, is the whole batch's on each device"
            )
            yield Finding(f"{what} and grows with it", each.source, each.largest)


def _precise(program: Program, facts: Facts) -> Iterator[Finding]:
    """Large products of float32 operands where two bytes were asked for."""
    if not facts.low:
        return
    for computation in program.computations.values():
        for each in computation:
            product = each.opcode in ("dot", "convolution") or "__cublas" in each.attributes
            if not product or not each.operands:
                continue
            inputs = computation.inputs(each)[:2]
            size = sum(array.bytes for array in inputs)
            if all(array.dtype == "f32" for array in inputs) and size > MIN_BYTES:
                yield Finding(
                    f"a product of float32 operands, {_mb(size)}, where bfloat16 was asked for",
                    program.source(each),
                    size,
                )


def _mb(size: Any) -> str:
    return f"{size / 1e6:,.1f} MB"
