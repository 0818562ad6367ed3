"""A step really run on the devices that are here, to be laid beside its plan."""

import dataclasses
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vlp.models.naflex import NaflexImages
from vlp.parallel.sharding import put_batch
from vlp.planning.compiling import answer_of
from vlp.planning.hardware import Chip, Number, chip_of
from vlp.planning.plan import Plan, read_answer
from vlp.planning.topology import Topology
from vlp.training.setup import Training

IDS = 100  # ids of tokens are drawn below it: every vocabulary has as many


@dataclasses.dataclass(frozen=True)
class Measured:
    """What steps took.

    Attributes:
        seconds: of each step but the first.
        peak: bytes of the device that had most in use; None where devices do not count them.
    """

    seconds: Sequence[float]
    peak: int | None

    @property
    def median(self) -> float:
        """Seconds of a step."""
        return statistics.median(self.seconds)


def here(devices: Sequence[Any]) -> Topology:
    """The machine of these devices; a chip without peaks where there are no figures of it."""
    kind = devices[0].device_kind
    chip = chip_of(kind) or _unknown(devices)
    return Topology(f"{len(devices)} x {kind}", chip, (len(devices),), list(devices))


def measure(
    training: Training,
    batch: Mapping[str, Any],
    topology: Topology,
    *,
    low: bool,
    steps: int,
) -> tuple[Plan, Measured]:
    """The plan of a step for the devices of its mesh, and what it takes there.

    Args:
        training: on a mesh of this process's devices.
        batch: shapes of the global batch; drawn at random.
        topology: from `here`.
        low: whether the model computes in a dtype of two bytes.
        steps: how many are timed, after one that is not.
    """
    compiled = training.lower(batch).compile()
    plan = read_answer(answer_of(compiled), training, batch, topology, low=low)
    given = put_batch(drawn(batch), training.mesh)
    frozen = jax.tree.map(_zeros, training.frozen)
    state = training.init()
    seconds = []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        state, metrics = compiled(state, given, frozen)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - begun)
    return plan, Measured(seconds[1:], _peak(list(training.mesh.devices.flat)))


def _peak(devices: Sequence[Any]) -> int | None:
    stats = [device.memory_stats() for device in devices]
    peaks = [each["peak_bytes_in_use"] for each in stats if each and "peak_bytes_in_use" in each]
    return max(peaks, default=None)


def _unknown(devices: Sequence[Any]) -> Chip:
    """A device of which only the memory is known: as it counts it, or its share of the host's."""
    stats = devices[0].memory_stats() or {}
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = stats.get("bytes_limit", host // len(devices))
    return Chip(
        kind=devices[0].platform, peak={}, memory=memory, bandwidth=1.0, link=1.0, network=1.0,
        hosted=len(devices),
    )  # fmt: skip


def drawn(batch: Mapping[str, Any]) -> dict[str, Any]:
    """A batch of these shapes, all rows counting; of pictures of any shape all patches."""
    rng = np.random.default_rng(0)
    return {name: _drawn(name, like, rng) for name, like in batch.items()}


def _drawn(name: str, like: Any, rng: np.random.Generator) -> Any:
    if isinstance(like, NaflexImages):
        drawn = {part: _drawn(part, shape, rng) for part, shape in like._asdict().items()}
        drawn["grid"][:] = 1, like.patches.shape[1]  # in one row
        return NaflexImages(**drawn)
    if name == "weight" or like.dtype == np.bool_:
        return np.ones(like.shape, like.dtype)
    if np.issubdtype(like.dtype, np.integer):
        most = 256 if like.dtype == np.uint8 else IDS
        return rng.integers(0, most, like.shape).astype(like.dtype)
    return rng.standard_normal(like.shape).astype(like.dtype)


def _zeros(like: jax.ShapeDtypeStruct) -> jax.Array:
    return jax.device_put(jnp.zeros(like.shape, like.dtype), like.sharding)


def beside(plan: Plan, measured: Measured) -> list[tuple[str, str, str, str]]:
    """Rows of a table: what, as planned, as measured, and planned over measured."""
    spent, taken = plan.estimate, measured.median
    ways = [("step, ms", spent.seconds if spent else 0.0)]
    if spent and spent.compiler:
        ways.append(("step by cycles, ms", spent.compiler_seconds))
    if spent and spent.measured:
        ways.append(("step by measured products, ms", spent.measured_seconds))
    total = _row("memory a device, GB", plan.memory.total, measured.peak or 0, 1e9)
    pace = _row("pairs/s", plan.pairs_per_second, plan.global_batch / taken, 1.0)
    return [total, *(_row(what, planned, taken, 1e-3) for what, planned in ways), pace]


def _row(what: str, planned: Number, measured: Number, unit: Number) -> tuple[str, str, str, str]:
    ratio = f"{planned / measured:.2f}" if planned and measured else ""
    return (
        what,
        f"{planned / unit:,.3f}" if planned else "no figures of this chip",
        f"{measured / unit:,.3f}" if measured else "not counted by this device",
        ratio,
    )
