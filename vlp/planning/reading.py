"""Any step compiled for a machine that is not here, and read: whoever wrote it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jax.sharding import Mesh

from vlp.planning.collectives import Collective, collectives
from vlp.planning.estimate import Estimate, estimate
from vlp.planning.hlo import Program, parse
from vlp.planning.topology import Topology

# Without a GPU at hand the compiler cannot try which tiles of Triton are fastest.
OPTIONS: Mapping[str, Mapping[str, Any]] = {"cuda": {"xla_gpu_enable_triton_gemm": False}}


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a step does on one device.

    Attributes:
        arguments: bytes of what it is given, state and batch.
        results: bytes of what it gives back, but for what takes the place of an argument.
        temporary: bytes of all else that the compiler keeps meanwhile.
        peak: the most bytes that are in use at once; 0 where the compiler does not say.
        program: the compiled one.
        collectives: in order.
        estimate: of its time.
    """

    arguments: int
    results: int
    temporary: int
    peak: int
    program: Program
    collectives: Sequence[Collective]
    estimate: Estimate


def read_step(lowered: Any, *, mesh: Mesh, topology: Topology) -> Reading:
    """A lowered step compiled for the devices of a mesh, and read.

    Args:
        lowered: a `jax.stages.Lowered` of any function, for the topology's platform.
        mesh: over which its arguments lie.
        topology: the machine of its devices.

    Raises:
        jax.errors.JaxRuntimeError: when the compiler refuses it, as where it does not fit.
    """
    options = dict(OPTIONS.get(topology.chip.kind, {}))
    compiled = lowered.compile(compiler_options=options or None)
    memory = compiled.memory_analysis()
    program = parse(compiled.as_text())
    exchanges = collectives(program, mesh=mesh, topology=topology)
    return Reading(
        arguments=memory.argument_size_in_bytes,
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporary=memory.temp_size_in_bytes,
        peak=memory.peak_memory_in_bytes,
        program=program,
        collectives=exchanges,
        estimate=estimate(program, chip=topology.chip, exchanges=exchanges),
    )
