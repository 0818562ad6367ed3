"""From what a step returned to the row of metrics that trackers get: read, timed, judged."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vlp.training.loop import perf
from vlp.training.loop.account import Account
from vlp.training.loop.position import Position
from vlp.training.loop.trackers import Tracker, Trackers
from vlp.training.setup import Training
from vlp.training.step import BY_ARRAY

_NAMED = 5


class Diverged(RuntimeError):
    """Too many steps in a row had no finite loss and gradient."""


@dataclasses.dataclass(frozen=True)
class Dispatched:
    """A step that the device may still be at."""

    step: int
    metrics: Mapping[str, Any]
    training: Training
    vote: Any
    pairs: int
    data_wait_s: float
    loading: Mapping[str, float]
    flops: float | None


@dataclasses.dataclass(eq=False)
class Rows:
    """Makes the rows of a run and hands them to the trackers; counts skipped steps and time.

    Attributes:
        trackers: used on process 0 only.
        ids: takes the sample ids of each step, on every process; may be None.
        position: how many samples were seen after so many steps.
        samples_per_epoch: for the metric `epoch`; None leaves it out.
        max_skipped: steps skipped in a row that end the run.
        account: of the time.
        log_every: steps between two rows that are handed on.
    """

    trackers: Sequence[Tracker]
    _: dataclasses.KW_ONLY
    ids: Tracker | None
    position: Position
    samples_per_epoch: int | None
    max_skipped: int
    account: Account
    log_every: int = 1

    def __post_init__(self) -> None:
        self._trackers = Trackers(self.trackers if jax.process_index() == 0 else ())
        self._ids = Trackers(() if self.ids is None else (self.ids,))
        self._skipped = 0
        self._flops: dict[Any, float | None] = {}
        self._since = time.monotonic()
        self._data_wait_s = 0.0

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._trackers.close()
        self._ids.close()

    @contextlib.contextmanager
    def data(self, running: Dispatched | None) -> Iterator[None]:
        """Times a wait for data; it costs time if the device has nothing left to do at its end.

        Args:
            running: the step that the device may still be at.
        """
        began = time.monotonic()
        self.account.until_now("step")
        yield
        self._data_wait_s = time.monotonic() - began
        busy = running is not None and not _is_done(running.metrics)
        self.account.until_now("step" if busy else "data")

    def restart_clock(self) -> None:
        """Lets the next step's time begin now, after something that is not a step."""
        self._since = time.monotonic()

    def dispatched(
        self,
        step: int,
        batch: Mapping[str, Any],
        metrics: Mapping[str, Any],
        *,
        training: Training,
        vote: Any,
        loading: Mapping[str, float],
    ) -> Dispatched:
        """Keeps what is needed to read a step later."""
        return Dispatched(
            step=step,
            metrics=metrics,
            training=training,
            vote=vote,
            pairs=len(batch["weight"]) * jax.process_count(),
            data_wait_s=self._data_wait_s,
            loading=loading,
            flops=self._flops_of(training, batch),
        )

    def read(self, dispatched: Dispatched) -> dict[str, Any]:
        """Waits for a step and returns its row.

        Raises:
            Diverged: when it was skipped, as were too many before it, or its update is not finite.
        """
        metrics = dict(jax.device_get(dispatched.metrics))
        now = time.monotonic()
        taken, self._since = now - self._since, now
        by_array = np.asarray(metrics.pop(BY_ARRAY))
        row: dict[str, Any] = {"step": dispatched.step}
        if self.samples_per_epoch:
            seen = self.position.samples_at(dispatched.step)
            row["epoch"] = seen / self.samples_per_epoch
        row |= {name: float(value) for name, value in sorted(metrics.items())}
        row |= self._speed(dispatched, seconds=taken) | dict(dispatched.loading)
        self._count_skipped(row, by_array, names=dispatched.training.gradient_names)
        if not math.isfinite(row["update/l2"]):
            self.log(row)
            raise Diverged(
                "the update must be finite where loss and gradients are, was not at step "
                f"{row['step']} (gradients {row['grad/l2']:.4g}); raise the optimiser's eps, and "
                "go on from the checkpoint before it"
            )
        return row

    def log(self, row: Mapping[str, Any], *, due: bool = True) -> None:
        """Hands a row to the trackers, if it is one of every `log_every` or of a skipped step.

        Args:
            row: of a step.
            due: hand it on in any case.
        """
        if not (due or row["step"] % self.log_every == 0 or row["train/skipped"]):
            return
        values = dict(row) | self.account.row()
        self._trackers.log(values.pop("step"), values)

    def log_ids(self, step: int, ids: np.ndarray | None) -> None:
        """Hands this process's sample ids of a step to whom they are for."""
        if self._ids and ids is not None:
            self._ids.log(step, {"ids": ids.tolist()})

    def _speed(self, dispatched: Dispatched, *, seconds: float) -> dict[str, float]:
        speed = {
            "perf/step_s": seconds,
            "perf/pairs_per_s": dispatched.pairs / max(seconds, 1e-9),
            "perf/data_wait_s": dispatched.data_wait_s,
            "perf/peak_memory_gb": perf.peak_memory_gb(),
        }
        if dispatched.flops is not None:
            devices = dispatched.training.mesh.devices
            share = perf.mfu(flops=dispatched.flops, seconds=seconds, devices=devices)
            speed |= {} if share is None else {"perf/mfu": share}
        return speed

    def _flops_of(self, training: Training, batch: Mapping[str, Any]) -> float | None:
        """Counted once a training, and only where there is a peak to compare with."""
        shapes = _global_shapes(batch)
        key = (id(training), *(shape.shape for shape in jax.tree.leaves(shapes)))
        if key not in self._flops:
            known = perf.peak_flops(training.mesh.devices.flat[0].device_kind) is not None
            self._flops[key] = training.flops(shapes) if known else None
        return self._flops[key]

    def _count_skipped(
        self, row: Mapping[str, Any], by_array: np.ndarray, *, names: Sequence[str]
    ) -> None:
        self._skipped = self._skipped + 1 if row["train/skipped"] else 0
        if self._skipped < self.max_skipped:
            return
        self.log(row)
        worst = ", ".join(f"{name} {norm:.3g}" for name, norm in largest(by_array, names=names))
        raise Diverged(
            f"loss and gradients must be finite, were not in {self._skipped} steps in a row up to "
            f"step {row['step']} (loss {row['train/loss']:.4g}, largest gradients: {worst}); lower "
            "the learning rate, lengthen the warm-up or lower b2, and go on from a checkpoint"
        )


def _is_done(metrics: Any) -> bool:
    return all(array.is_ready() for array in jax.tree.leaves(metrics))


def largest(norms: np.ndarray, *, names: Sequence[str]) -> list[tuple[str, float]]:
    """The names and norms of the largest gradients, those that are not finite first."""
    order = sorted(
        range(len(norms)), key=lambda i: -norms[i] if math.isfinite(norms[i]) else -math.inf
    )
    return [(names[i], float(norms[i])) for i in order[:_NAMED]]


def _global_shapes(batch: Mapping[str, Any]) -> dict[str, Any]:
    count = jax.process_count()
    return jax.tree.map(
        lambda rows: jax.ShapeDtypeStruct((len(rows) * count, *rows.shape[1:]), rows.dtype),
        dict(batch),
    )
