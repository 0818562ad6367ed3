"""One step planned: compiled for a machine that is not here, and read."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vlp.parallel.mesh import batch_parts
from vlp.planning.collectives import Collective
from vlp.planning.compiling import Answer, ask
from vlp.planning.estimate import Estimate
from vlp.planning.findings import MIN_BYTES, Facts, Finding, findings
from vlp.planning.reading import read
from vlp.planning.topology import Topology
from vlp.training.params import leaf_names
from vlp.training.setup import Training


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device while a step runs.

    Attributes:
        parameters: learned ones and statistics.
        optimiser: its state.
        averages: momentum model and average.
        frozen: other models.
        carry: what the objective hands from step to step.
        batch: one step's.
        temporary: activations, gradients and all else that the compiler keeps meanwhile.
        capacity: of the chip.
    """

    parameters: int
    optimiser: int
    averages: int
    frozen: int
    carry: int
    batch: int
    temporary: int
    capacity: int | float

    @property
    def total(self) -> int:
        """All of it together."""
        return sum(self.parts().values())

    @property
    def fits(self) -> bool:
        """Whether the chip has as much."""
        return self.total <= self.capacity

    def parts(self) -> dict[str, int]:
        """The bytes by kind."""
        kinds = [field.name for field in dataclasses.fields(self) if field.name != "capacity"]
        return {kind: getattr(self, kind) for kind in kinds}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a step does on a machine.

    Attributes:
        topology: the machine's name.
        devices: of the mesh.
        mesh: sizes of its axes by name.
        hosts: that feed these devices.
        global_batch: pairs a step.
        fields: bytes of one pair on the device, by the batch's field.
        peak: FLOP/s of one device in the model's dtype.
        memory: of one device.
        model_flops: of one step on all devices, recomputation apart.
        estimate: seconds; None where the program does not fit, so that none was made.
        collectives: in order.
        findings: most bytes first.
        kept: whether the compiler's answer is that of an earlier time.
    """

    topology: str
    devices: int
    mesh: Mapping[str, int]
    hosts: int
    global_batch: int
    fields: Mapping[str, int]
    peak: float
    memory: Memory
    model_flops: float
    estimate: Estimate | None
    collectives: Sequence[Collective]
    findings: Sequence[Finding]
    kept: bool = False

    @property
    def pairs_per_second(self) -> float:
        """Of all devices; 0 where no time was estimated."""
        return self.global_batch / self.estimate.seconds if self.estimate else 0.0

    @property
    def mfu(self) -> float:
        """Model FLOPs over what all devices could do in the time of a step."""
        if self.estimate is None:
            return 0.0
        return self.model_flops / (self.estimate.seconds * self.devices * self.peak)


def plan_step(
    training: Training,
    batch: Mapping[str, Any],
    topology: Topology,
    *,
    low: bool,
    cache: Path | None = None,
) -> Plan:
    """The step of a training, compiled for the devices of its mesh.

    Args:
        training: on a mesh of the topology's devices.
        batch: shapes of the global batch.
        topology: the machine.
        low: whether the model computes in a dtype of two bytes.
        cache: folder of what the compiler said earlier; None asks it anew.

    Raises:
        jax.errors.JaxRuntimeError: when the compiler fails for another reason than memory.
    """
    lowered = training.lower(batch, platforms=(topology.chip.kind,))
    answer = ask(lowered, topology, mesh=training.mesh, cache=cache)
    return read_answer(answer, training, batch, topology, low=low)


def read_answer(
    answer: Answer,
    training: Training,
    batch: Mapping[str, Any],
    topology: Topology,
    *,
    low: bool,
) -> Plan:
    """The plan that a compiler's answer gives; arguments as those of `plan_step`."""
    size, chip = batch["weight"].shape[0], topology.chip
    memory = _memory(training, batch, topology)
    memory = dataclasses.replace(memory, temporary=answer.temporary_beside(memory.total))
    devices = training.mesh.devices.flat
    shared: dict[str, Any] = dict(
        topology=topology.name,
        devices=training.mesh.size,
        mesh=dict(training.mesh.shape),
        hosts=len({device.process_index for device in devices}),
        global_batch=size,
        fields={name: _bytes(rows) // size for name, rows in batch.items()},
        peak=chip.peak.get("bf16" if low else "f32", 0.0),
        memory=memory,
        model_flops=training.flops(batch),
        kept=answer.kept,
    )
    if answer.refusal:
        return Plan(**shared, estimate=None, collectives=(), findings=())
    found = read(answer, mesh=training.mesh, topology=topology)
    params = training.abstract.params
    leaves = jax.tree.leaves(params)
    facts = Facts(
        layer_bytes=_layer_bytes(params, 2 if low else 4),
        shapes={shape for leaf in leaves for shape in _and_of_a_layer(leaf.shape)},
        tables={leaf.shape for leaf in leaves if leaf.ndim == 2 and leaf.shape[0] >= 4096},
        low=low,
        whole=_whole(params, parts=training.mesh.shape["fsdp"]),
    )
    return Plan(
        **shared,
        estimate=found.estimate,
        collectives=found.collectives,
        findings=findings(found.program, found.collectives, facts),
    )


def _memory(training: Training, batch: Mapping[str, Any], topology: Topology) -> Memory:
    """Of what a step is given, before its temporaries."""
    state, shards = training.abstract, batch_parts(training.mesh)
    return Memory(
        parameters=_share(state.params),
        optimiser=_share(state.opt_state),
        averages=_share(state.momentum) + _share(state.averaged),
        frozen=_share(training.frozen),
        carry=_share(state.carry),
        batch=sum(_bytes(rows) // shards for rows in batch.values()),
        temporary=0,
        capacity=topology.chip.memory,
    )


def _share(tree: Any) -> int:
    """Bytes of a pytree that one device holds."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _bytes(tree: Any) -> int:
    leaves = jax.tree.leaves(tree)
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)


def _named(params: Any) -> dict[str, Any]:
    return dict(zip(leaf_names(params), jax.tree.leaves(params), strict=True))


def _layer_bytes(params: Any, item: int) -> float:
    """Of the largest weight of one layer: those of a stack have their layers in front."""
    named = _named(params).items()
    sizes = [np.prod(leaf.shape[1:]) for name, leaf in named if "/blocks/" in name]
    return float(max(sizes, default=0)) * item


def _and_of_a_layer(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return shape, shape[1:], (1, *shape[1:])


def _whole(params: Any, *, parts: int) -> dict[str, float]:
    """Large parameters that are whole on every device, though `fsdp` of so many divides them."""
    if parts == 1:
        return {}
    return {
        name: float(_bytes(leaf))
        for name, leaf in _named(params).items()
        if _bytes(leaf) > MIN_BYTES
        and leaf.sharding.is_fully_replicated
        and any(size % parts == 0 for size in leaf.shape)
    }
