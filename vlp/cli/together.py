"""What the processes of one command do together: where one is refused, all are, with its reason."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from vlp.cli.lock import Lock

T = TypeVar("T")
_BYTES = 2000  # of a reason, as it goes from process to process
_REFUSALS = (ValueError, TypeError, OSError, RuntimeError)
SHARED_S = 30.0  # until what one machine writes is seen on the others


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
    reasons = multihost_utils.process_allgather(_packed(error))
    if error is not None:
        raise error
    for process, reason in enumerate(reasons):
        if reason[0]:
            raise ValueError(f"process {process}: {_unpacked(reason)}")
    return result


def on_first(function: Callable[[], object]) -> None:
    """Runs the function on process 0 alone; all processes must call this at the same time.

    Raises:
        ValueError: it raised there; on all processes, with its reason.
    """
    everywhere(function if jax.process_index() == 0 else lambda: None)


@contextlib.contextmanager
def only_writer(lock: Lock) -> Iterator[None]:
    """While entered, no other command writes where the lock is; process 0 holds it.

      with only_writer(Lock(args.out)):
          ...

    Every process must enter this at the same time.

    Raises:
        ValueError: another command writes there, or the folder is not the same for all processes.
    """
    on_first(lock.__enter__)
    try:
        token = multihost_utils.broadcast_one_to_all(np.frombuffer(lock.token.encode(), np.uint8))
        everywhere(lambda: _check_shared(lock, np.asarray(token, np.uint8).tobytes().decode()))
        yield
    finally:
        lock.release()


def _check_shared(lock: Lock, token: str) -> None:
    until = time.monotonic() + SHARED_S
    while not lock.is_seen(token):
        if time.monotonic() > until:
            raise ValueError(
                f"{lock.folder} must be a folder that all processes share, this one does not see "
                "what process 0 writes there; give one on a shared disk"
            )
        time.sleep(0.2)


def _packed(error: BaseException | None) -> np.ndarray:
    text = b"" if error is None else (str(error) or type(error).__name__).encode()[:_BYTES]
    return np.frombuffer(text.ljust(_BYTES, b"\0"), np.uint8)


def _unpacked(reason: np.ndarray) -> str:
    return np.asarray(reason, np.uint8).tobytes().rstrip(b"\0").decode(errors="replace")
