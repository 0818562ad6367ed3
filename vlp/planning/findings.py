"""What a compiled step does that it should not: each with the line that made it."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from vlp.planning.collectives import Collective
from vlp.planning.cost import FREE
from vlp.planning.hlo import Array, Program

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
        global_batch: pairs a step.
        devices: of the mesh.
        layer_bytes: of the largest weight of one layer, as it is computed with.
        tables: rows of the tables of tokens.
        widths: lengths of all axes of parameters, which are no batch's.
        low: whether a dtype of two bytes was asked for.
        whole: bytes of parameters that every device holds whole though the mesh could divide them,
            by name.
    """

    global_batch: int
    devices: int
    layer_bytes: int | float
    tables: Sequence[int]
    widths: Collection[int]
    low: bool
    whole: Mapping[str, float]


def findings(program: Program, exchanges: Sequence[Collective], facts: Facts) -> list[Finding]:
    """All findings of a step, those of most bytes first."""
    found = [
        *_in_loops(exchanges, facts),
        *_tables(exchanges, facts),
        *_grown(program, facts),
        *_precise(program, facts),
        *(
            Finding(
                f"parameter {name} is whole on every device though fsdp could divide it", "", size
            )
            for name, size in facts.whole.items()
        ),
    ]
    return sorted(set(found), key=lambda finding: -finding.bytes)


def _in_loops(exchanges: Sequence[Collective], facts: Facts) -> Iterator[Finding]:
    for each in exchanges:
        if each.depth and each.largest > 1.05 * facts.layer_bytes:
            yield Finding(
                f"{each.kind} over {'+'.join(each.axes)} of {_mb(each.largest)} in a loop of "
                f"{each.times}, where the largest weight of a layer has {_mb(facts.layer_bytes)}",
                each.source,
                each.largest * each.times,
            )


def _tables(exchanges: Sequence[Collective], facts: Facts) -> Iterator[Finding]:
    for each in exchanges:
        if each.kind == "all-gather" and each.bytes > MIN_BYTES and each.rows in facts.tables:
            yield Finding(
                f"a table of {each.rows:,} rows is gathered whole, {_mb(each.bytes)}",
                each.source,
                each.bytes,
            )


def _grown(program: Program, facts: Facts) -> Iterator[Finding]:
    """Arrays with an axis of the whole batch on one device."""
    if facts.devices == 1:
        return
    seen: set[tuple[str, Array]] = set()
    for visit in program.visits():
        for each in visit.computation:
            if each.opcode in FREE or each.opcode.endswith("-done"):
                continue
            source = program.source(each)
            for array in each.outputs:
                if _is_global(array, facts) and (source, array) not in seen:
                    seen.add((source, array))
                    shape = ",".join(map(str, array.shape))
                    yield Finding(
                        f"{array.dtype}[{shape}], {_mb(array.bytes)}, holds the whole batch's and "
                        "grows with it",
                        source,
                        array.bytes,
                    )


def _is_global(array: Array, facts: Facts) -> bool:
    """Whether an axis is the whole batch's, of one row a pair or of several; vectors are small."""
    if len(array.shape) < 2 or array.bytes <= MIN_BYTES:
        return False
    return any(
        length >= facts.global_batch
        and length % facts.global_batch == 0
        and length not in facts.widths
        for length in array.shape
    )


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
