"""Any step compiled for a machine that is not here, and read: whoever wrote it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from vlp.planning.collectives import Collective, collectives
from vlp.planning.compiling import Answer, ask
from vlp.planning.estimate import Estimate, estimate
from vlp.planning.hlo import Program, parse
from vlp.planning.topology import Topology


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a step does on one device.

    Attributes:
        answer: of the compiler, with its memory.
        program: the compiled one.
        collectives: in order.
        estimate: of its time; None on a chip, such as a CPU, of which nothing is known to reckon
            with.
    """

    answer: Answer
    program: Program
    collectives: Sequence[Collective]
    estimate: Estimate | None


def read_step(lowered: Any, *, mesh: Mesh, topology: Topology) -> Reading:
    """A lowered step compiled for the devices of a mesh, and read.

    Args:
        lowered: a `jax.stages.Lowered` of any function, for the topology's platform.
        mesh: over which its arguments lie.
        topology: the machine of its devices.

    Raises:
        MemoryError: when it does not fit.
        jax.errors.JaxRuntimeError: when the compiler refuses it for another reason.
    """
    answer = ask(lowered, topology, mesh=mesh, cache=None)
    if answer.refusal:
        raise MemoryError(answer.refusal)
    return read(answer, mesh=mesh, topology=topology)


def read(answer: Answer, *, mesh: Mesh, topology: Topology) -> Reading:
    """What a compiler's answer says that is no refusal; arguments as those of `read_step`."""
    program, chip = parse(answer.text), topology.chip
    exchanges = collectives(program, mesh=mesh, topology=topology)
    return Reading(
        answer=answer,
        program=program,
        collectives=exchanges,
        estimate=estimate(program, chip=chip, exchanges=exchanges) if chip.peak else None,
    )
