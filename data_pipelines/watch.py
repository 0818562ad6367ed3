"""What each thread or worker is at, so that one that hangs or dies can be named.

A few numbers a worker in a file that all processes have mapped: they must be readable when the
worker that wrote them answers nothing any more.
"""

import itertools
import os
import signal
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

_PID, _EPOCH, _INDEX, _SINCE = range(4)
_worker: int | None = None  # which worker this process is, if it is one


class Stalled(RuntimeError):
    """No samples come any more, and nothing that could be replaced is the reason."""


class At(NamedTuple):
    """What somebody is at.

    Attributes:
      pid: of its process.
      epoch, sample: which one, by its index in the source.
      seconds: how long by now; 0 where it is between two samples, the last of which is named.
    """

    pid: int
    epoch: int
    sample: int
    seconds: float


class Watch:
    """A line for each thread or worker that loads samples. Pickles, and is then the same lines.

    Args:
      lines: how many load at the same time.
    """

    def __init__(self, lines: int) -> None:
        handle, self._path = tempfile.mkstemp(prefix="vlp-watch-")
        os.close(handle)
        weakref.finalize(self, os.unlink, self._path)
        self._open(lines, mode="w+")

    def _open(self, lines: int, *, mode: Any) -> None:
        self._lines = np.memmap(self._path, np.int64, mode, shape=(max(1, lines), 4))
        self._next, self._own = itertools.count(), threading.local()

    def __getstate__(self) -> tuple[str, int]:
        return self._path, len(self._lines)

    def __setstate__(self, state: tuple[str, int]) -> None:
        self._path, lines = state
        self._open(lines, mode="r+")

    def begin(self, epoch: int, index: int) -> None:
        """Says that this thread is at a sample from now on."""
        self._lines[self._line()] = (os.getpid(), epoch, index, time.monotonic_ns())

    def done(self) -> None:
        """Says that it no longer is."""
        self._lines[self._line(), _SINCE] = 0

    def clear(self) -> None:
        """Forgets all of them, when others begin."""
        self._lines[:] = 0

    def all(self) -> Iterator[At]:
        """What all are at that have begun."""
        now = time.monotonic_ns()
        for pid, epoch, index, since in self._lines.tolist():
            if pid:
                yield At(pid, epoch, index, (now - since) / 1e9 if since else 0.0)

    def _line(self) -> int:
        if _worker is not None:
            return _worker % len(self._lines)
        if not hasattr(self._own, "line"):
            self._own.line = next(self._next) % len(self._lines)
        return self._own.line


def begin_worker(index: int) -> None:
    """Says which worker this process is."""
    global _worker
    _worker = index


def worker() -> int:
    """Which worker this process is; 0 where it is none."""
    return _worker or 0


def is_alive(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill(pid: int) -> None:
    """Ends one of our workers that listens to nothing, unless it has ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
