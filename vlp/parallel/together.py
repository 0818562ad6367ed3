"""What the processes of one command do together: where one is refused, all are, with its reason."""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from vlp.parallel.holder import machine

T = TypeVar("T")
_BYTES = 2000  # of a reason, as it goes from process to process
ALIKE_S = 20  # for all processes to say that they failed
_REFUSALS = (ValueError, TypeError, OSError, RuntimeError)


def everywhere(function: Callable[[], T]) -> T:
    """What the function returns here, once it has returned on all processes.

    Every process must call this at the same time, and the function must not wait for the others.

    Raises:
        ValueError: it raised on another process; names it, with its reason.
    """
    if jax.process_count() == 1:
        return function()
    try:
        result, error = function(), None
    except _REFUSALS as raised:
        error = raised
    reason = None if error is None else str(error) or type(error).__name__
    reasons = multihost_utils.process_allgather(_packed(reason))
    if error is not None:
        raise error
    for process, packed in enumerate(reasons):
        if packed[0]:
            raise ValueError(f"process {process}: {_unpacked(packed)}")
    return result


def on_first(function: Callable[[], object]) -> None:
    """Runs the function on process 0 alone; all processes must call this at the same time.

    Raises:
        ValueError: it raised there; on all processes, with its reason.
    """
    everywhere(function if jax.process_index() == 0 else lambda: None)


def raise_anywhere(failures: Sequence[Exception]) -> None:
    """Raises the first of the failures of any process on all of them, which must call this at the
    same time."""

    def first() -> None:
        for failure in failures:
            raise failure

    everywhere(first)


def said_anywhere(function: Callable[[], str | None]) -> str | None:
    """What the function says on the first process on which it says something; the same on all.

    Every process must call this at the same time, and the function must not wait for the others.
    """
    said = everywhere(function)
    if jax.process_count() == 1:
        return said
    texts = map(_unpacked, multihost_utils.process_allgather(_packed(said)))
    return next((text for text in texts if text), None)


def of_all(value: Any) -> list[Any]:
    """What each process gives, a JSON value, by process; all must call this at the same time."""
    if jax.process_count() == 1:
        return [value]
    own = json.dumps(value).encode()
    room = int(np.max(multihost_utils.process_allgather(np.int32(len(own)))))
    padded = np.frombuffer(own.ljust(room), np.uint8)
    texts = np.asarray(multihost_utils.process_allgather(padded), np.uint8)
    return [json.loads(text.tobytes()) for text in texts]


def sharing_cores() -> int:
    """How many processes of this command share the cores of this one, itself included.

    Processes that a launcher binds to cores of their own share none. All must call this at the same
    time.
    """
    if jax.process_count() == 1:
        return 1
    affinity = getattr(os, "sched_getaffinity", lambda _: ())
    own = _packed(f"{machine()} {sorted(affinity(0))}")
    return sum(np.array_equal(own, other) for other in multihost_utils.process_allgather(own))


def failed_alike(what: str) -> bool:
    """Whether all processes say so, within seconds; for what each of them does in the same order.

    No collective over devices: a process that did not fail is on its way to another one.
    """
    if jax.process_count() == 1:
        return True
    try:
        ocp.multihost.get_barrier_sync_fn()(key=what, timeout_ms=1000 * ALIKE_S)
    except jax.errors.JaxRuntimeError:
        return False
    return True


def wait_for_all(what: str, *, timeout_s: int) -> None:
    """Returns once every process has come here. No collective over devices: those give up after
    minutes, and what a process does alone may take longer.

    Args:
        what: which wait this is, the same on all processes.
        timeout_s: how long the others may take, in seconds.
    """
    if jax.process_count() > 1:
        ocp.multihost.get_barrier_sync_fn()(key=what, timeout_ms=1000 * timeout_s)


def _packed(text: str | None) -> np.ndarray:
    return np.frombuffer((text or "").encode()[:_BYTES].ljust(_BYTES, b"\0"), np.uint8)


def _unpacked(reason: np.ndarray) -> str:
    return np.asarray(reason, np.uint8).tobytes().rstrip(b"\0").decode(errors="replace")
