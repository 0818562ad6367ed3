"""The training loop: batch, step, last step's metrics; on the way hooks and checkpoints."""

import contextlib
import dataclasses
import faulthandler
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from vlp.models.naflex import device_images
from vlp.parallel.ids import id_words
from vlp.parallel.sharding import put_batch
from vlp.training.checkpoint.checkpoints import Checkpoints
from vlp.training.loop.account import Account
from vlp.training.loop.interruption import Interruption
from vlp.training.loop.position import Position
from vlp.training.loop.rows import Rows
from vlp.training.loop.trackers import Tracker
from vlp.training.setup import Training

# How much longer than a step may take what compiles, evaluates or saves.
PATIENCE = 4.0
BY_STEPS = Position()

# hook(step, state) -> metrics to add to the step's row, or None; the state is gone afterwards
Hook = Callable[[int, Any], Mapping[str, float] | None]
# pause(what is done instead of steps), entered while it is done
Pause = Callable[[str], contextlib.AbstractContextManager[Any]]


@runtime_checkable
class Loader(Protocol):
    """Host batches, one after another, and where in the data they are."""

    def __next__(self) -> Mapping[str, np.ndarray]:
        """This process's share of the next global batch."""

    def get_state(self) -> Any:
        """JSON value from which a loader goes on after the batch handed out last."""


@runtime_checkable
class Measured(Protocol):
    """A loader that says what its loading is like."""

    def metrics(self) -> Mapping[str, float]:
        """Metrics of this process, to stand in the row of the step that takes the last batch."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: state, the step it reached, and whether a signal stopped it (after saving).

    `account` says what the time went into.
    """

    state: Any
    step: int
    preempted: bool
    account: Account


def train(
    state: Any,
    batches: Loader,
    *,
    training_at: Callable[[int], Training],
    steps: int,
    position: Position = BY_STEPS,
    samples_per_epoch: int | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: int | None = None,
    trackers: Sequence[Tracker] = (),
    hooks: Sequence[tuple[int, Hook]] = (),
    pause: Pause = contextlib.nullcontext,
    ids: Tracker | None = None,
    profile: tuple[int, int] | None = None,
    profile_directory: Any = None,
    max_skipped_in_a_row: int = 10,
    watchdog_s: float | None = None,
    log_every: int = 1,
    account: Account | None = None,
) -> Outcome:
    """Trains from the state's step to `steps`.

    The host waits for the device only to read the metrics of the step before the one that runs, and
    where hooks or checkpoints need the state.

    Args:
        state: from `Training.init` or `Checkpoints.restore`; its memory is taken over.
        batches: begins with the batch of the next step.
        training_at: which training takes the step after so many steps; the stages of a run share
            one state (`Training.with_objective`).
        steps: the step at which to end.
        position: how many samples that state has seen; by default its steps are counted instead.
        samples_per_epoch: for the metric `epoch`.
        checkpoints: where to save every `checkpoint_every` steps, after the last step and when told
            to stop.
        checkpoint_every: steps between checkpoints; None saves only at the end.
        trackers: take a row of metrics a step, on process 0; closed at the end.
        hooks: pairs of how many steps and what to call that often, and after the last step; once a
            signal has stopped the run no further one is called, so that it is saved in time.
        pause: entered while a step compiles, which it does for each training and each shape of its
            batches, and while a checkpoint is begun.
        ids: takes this process's sample ids of every step; closed at the end.
        profile: first and last step to trace with JAX's profiler.
        profile_directory: where that trace goes.
        max_skipped_in_a_row: give up after so many steps without finite loss and gradient.
        watchdog_s: when a step takes longer, print all stacks and exit; steps that compile,
            hooks and saves may take `PATIENCE` times as long.
        log_every: steps between two rows for the trackers; those of skipped steps, hooks, saves and
            the last step are handed on as well.
        account: of the time until now; a new one if not given.

    Raises:
        Diverged: after too many skipped steps; names the largest gradients.
        ValueError: when the data ends before the last step.
    """
    check_limits(
        max_skipped_in_a_row=max_skipped_in_a_row, watchdog_s=watchdog_s, log_every=log_every
    )
    account = account or Account()
    account.until_now("start")
    compiled: set[Any] = set()
    step, stop, dispatched, training = int(state.step), False, None, None
    rows = Rows(
        trackers,
        ids=ids,
        position=position,
        samples_per_epoch=samples_per_epoch,
        max_skipped=max_skipped_in_a_row,
        account=account,
        log_every=log_every,
    )
    with (
        rows,
        Interruption(training_at(step).mesh) as interruption,
        _profiler(profile, profile_directory) as profiler,
        _watchdog(watchdog_s) as still_alive,
    ):
        while step < steps and not stop:
            first, training = training is not training_at(step), training_at(step)
            still_alive(patience=PATIENCE if first else 1.0)
            with rows.data(dispatched):
                batch = _next_batch(batches, step=step, steps=steps)
            loading = batches.metrics() if isinstance(batches, Measured) else {}
            step += 1
            rows.log_ids(step, batch.get("id"))
            profiler(step, state)
            batch = {name: _device_rows(name, batch[name]) for name in training.fields}
            program = (id(training), *(leaf.shape for leaf in jax.tree.leaves(batch)))
            compiles = program not in compiled
            compiled.add(program)
            if compiles:
                still_alive(patience=PATIENCE)
            with _compiling(account, pause) if compiles else contextlib.nullcontext():
                state, metrics = training.step(state, put_batch(batch, training.mesh))
            vote = interruption.vote()
            if checkpoints is not None:
                checkpoints.check()

            if dispatched is not None:
                stop = interruption.decided(dispatched.vote)
                rows.log(rows.read(dispatched), due=False)
            dispatched = rows.dispatched(
                step, batch, metrics, training=training, vote=vote, loading=loading
            )

            last = step == steps
            due = [hook for every, hook in hooks if last or position.is_due(every, step)]
            saves = checkpoints is not None and (
                last or (checkpoint_every is not None and position.is_due(checkpoint_every, step))
            )
            if not (due or saves or stop or last):
                continue
            stop = stop or interruption.decided(dispatched.vote)
            row, dispatched = rows.read(dispatched), None
            with account.timed("evaluation"):
                for hook in due:
                    if stop:
                        break
                    still_alive(patience=PATIENCE)
                    row |= hook(step, state) or {}
                    stop = interruption.now()
            rows.log(row)
            still_alive(patience=PATIENCE)
            if checkpoints is not None and (saves or stop):
                with account.timed("checkpoint"), pause(f"saving step {step}"):
                    checkpoints.save(step, state, loader=batches.get_state())
            rows.restart_clock()
        if checkpoints is not None:
            still_alive(patience=PATIENCE)
            with account.timed("checkpoint"):
                checkpoints.wait()
    return Outcome(state, step, preempted=stop, account=account)


@contextlib.contextmanager
def _compiling(account: Account, pause: Pause) -> Iterator[None]:
    with account.timed("compile"), pause("compiling the step"):
        yield


def check_limits(
    *, max_skipped_in_a_row: int, watchdog_s: float | None, log_every: int = 1
) -> None:
    """Raises ValueError for limits that `train` could not keep."""
    if max_skipped_in_a_row < 1:
        raise ValueError(
            f"max_skipped_in_a_row must be at least 1 step, got {max_skipped_in_a_row}; try 10"
        )
    if watchdog_s is not None and watchdog_s <= 0:
        raise ValueError(f"watchdog_s must be above 0 seconds, got {watchdog_s}; None turns it off")
    if log_every < 1:
        raise ValueError(f"log_every must be at least 1 step, got {log_every}; 1 logs every step")


def _device_rows(name: str, rows: np.ndarray) -> Any:
    """A field of a batch as the step reads it."""
    return id_words(rows) if name == "id" else device_images(rows)


def _next_batch(batches: Loader, *, step: int, steps: int) -> dict[str, np.ndarray]:
    try:
        return dict(next(batches))
    except StopIteration:
        raise ValueError(
            f"the data must last for {steps} steps, ended after {step}; let the loader repeat it "
            "(epochs=None)"
        ) from None


@contextlib.contextmanager
def _watchdog(seconds: float | None) -> Iterator[Callable[..., None]]:
    """Yields what to call while all is well; without it the process prints its stacks and exits.

    The timer lives in a C thread, so that it works while Python hangs in a collective.
    """

    stderr = sys.__stderr__ or sys.stderr

    def still_alive(*, patience: float = 1.0) -> None:
        if seconds is not None:
            faulthandler.dump_traceback_later(seconds * patience, exit=True, file=stderr)

    try:
        yield still_alive
    finally:
        if seconds is not None:
            faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _profiler(
    steps: tuple[int, int] | None, directory: Any
) -> Iterator[Callable[[int, Any], None]]:
    """Yields what to call before each step, to trace those from first to last of `steps`."""
    running = False

    def before(step: int, state: Any) -> None:
        nonlocal running
        if steps is None:
            return
        if not running and steps[0] <= step <= steps[1]:
            jax.profiler.start_trace(str(directory))
            running = True
        elif running and step > steps[1]:
            jax.block_until_ready(state)
            jax.profiler.stop_trace()
            running = False

    try:
        yield before
    finally:
        if running:
            jax.profiler.stop_trace()
