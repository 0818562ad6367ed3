"""One step planned: compiled for a machine that is not here, and read."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vlp.planning.collectives import Collective
from vlp.planning.estimate import Estimate
from vlp.planning.findings import Facts, Finding, findings
from vlp.planning.reading import read_step
from vlp.planning.topology import Topology
from vlp.training.params import leaf_names
from vlp.training.setup import Training

# What libtpu says of a program that does not fit: of all it needs, or of its temporaries.
_USED = re.compile(r"Used ([\d.]+)([GMK]) of [\d.]+[GMK] hbm")
_TEMPORARIES = re.compile(r"HLO temporaries \(([\d.]+)([GMK])\)")
_UNITS = {"G": 2**30, "M": 2**20, "K": 2**10}


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
        global_batch: pairs a step.
        peak: FLOP/s of one device in the model's dtype.
        memory: of one device.
        model_flops: of one step on all devices, recomputation apart.
        estimate: seconds; None where the program does not fit, so that none was made.
        collectives: in order.
        findings: most bytes first.
    """

    topology: str
    devices: int
    mesh: Mapping[str, int]
    global_batch: int
    peak: float
    memory: Memory
    model_flops: float
    estimate: Estimate | None
    collectives: Sequence[Collective]
    findings: Sequence[Finding]

    @property
    def mfu(self) -> float:
        """Model FLOPs over what all devices could do in the time of a step."""
        if self.estimate is None:
            return 0.0
        return self.model_flops / (self.estimate.seconds * self.devices * self.peak)


def plan_step(
    training: Training,
    batch: Mapping[str, jax.ShapeDtypeStruct],
    topology: Topology,
    *,
    low: bool,
) -> Plan:
    """The step of a training, compiled for the devices of its mesh.

    Args:
        training: on a mesh of the topology's devices.
        batch: shapes of the global batch.
        topology: the machine.
        low: whether the model computes in a dtype of two bytes.

    Raises:
        jax.errors.JaxRuntimeError: when the compiler fails for another reason than memory.
    """
    lowered = training.lower(batch, platforms=(topology.chip.kind,))
    size = batch["weight"].shape[0]
    shared: dict[str, Any] = dict(
        topology=topology.name,
        devices=training.mesh.size,
        mesh=dict(training.mesh.shape),
        global_batch=size,
        peak=topology.chip.peak["bf16" if low else "f32"],
        model_flops=training.flops(batch),
    )
    try:
        reading = read_step(lowered, mesh=training.mesh, topology=topology)
    except jax.errors.JaxRuntimeError as error:
        memory = _refused(_memory(training, batch, topology, temporary=0), str(error))
        if memory is None:
            raise
        return Plan(**shared, memory=memory, estimate=None, collectives=(), findings=())
    leaves = jax.tree.leaves(training.abstract.params)
    facts = Facts(
        layer_bytes=_layer_bytes(training, 2 if low else 4),
        shapes={shape for leaf in leaves for shape in _and_of_a_layer(leaf.shape)},
        tables={leaf.shape for leaf in leaves if leaf.ndim == 2 and leaf.shape[0] >= 4096},
        low=low,
        whole=_whole(training),
    )
    return Plan(
        **shared,
        memory=_memory(training, batch, topology, temporary=reading.temporary),
        estimate=reading.estimate,
        collectives=reading.collectives,
        findings=findings(reading.program, reading.collectives, facts),
    )


def _memory(
    training: Training, batch: Mapping[str, Any], topology: Topology, *, temporary: int
) -> Memory:
    state, shards = training.abstract, training.mesh.size
    return Memory(
        parameters=_share(state.params),
        optimiser=_share(state.opt_state),
        averages=_share(state.momentum) + _share(state.averaged),
        frozen=_share(training.frozen),
        carry=_share(state.carry),
        batch=sum(_bytes(array) // shards for array in batch.values()),
        temporary=temporary,
        capacity=topology.chip.memory,
    )


def _share(tree: Any) -> int:
    """Bytes of a pytree that one device holds."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _bytes(leaf: Any) -> int:
    return int(np.prod(leaf.shape)) * leaf.dtype.itemsize


def _named(training: Training) -> dict[str, Any]:
    params = training.abstract.params
    return dict(zip(leaf_names(params), jax.tree.leaves(params), strict=True))


def _layer_bytes(training: Training, item: int) -> float:
    """Of the largest weight of one layer: those of a stack have their layers in front."""
    named = _named(training)
    sizes = [np.prod(leaf.shape[1:]) for name, leaf in named.items() if "/blocks/" in name]
    return float(max(sizes, default=0)) * item


def _and_of_a_layer(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return shape, shape[1:], (1, *shape[1:])


def _whole(training: Training) -> dict[str, float]:
    """Large parameters that are whole on every device of a mesh that divides others."""
    if training.mesh.shape["fsdp"] == 1:
        return {}
    return {
        name: float(_bytes(leaf))
        for name, leaf in _named(training).items()
        if _bytes(leaf) > 2**20 and leaf.sharding.is_fully_replicated
    }


def _refused(memory: Memory, message: str) -> Memory | None:
    """With the temporaries of a program that the compiler refuses for its size; None for others."""
    if found := _TEMPORARIES.search(message):
        return dataclasses.replace(memory, temporary=_size(found))
    if found := _USED.search(message):
        return dataclasses.replace(memory, temporary=max(0, _size(found) - memory.total))
    return None


def _size(found: re.Match[str]) -> int:
    return round(float(found[1]) * _UNITS[found[2]])
