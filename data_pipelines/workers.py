"""Groups of rows made by worker processes, in order.

Ours and not grain's: what a worker needs is numpy, Pillow and a tokenizer, and grain's import JAX
and Orbax, which took a second and a hundred megabytes a worker. Rows go through `slots.Slots`, the
rest of a group through a pipe.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection, wait

from data_pipelines.assemble import Batch, TrainGroups
from data_pipelines.watch import begin_worker

_ENDING_S = 5.0  # for what a worker is at when nobody reads any more


class WorkerLost(RuntimeError):
    """A worker ended before its groups did."""


class Workers:
    """Iterator over groups, group n made by worker n modulo their number; close it to end them.

    Args:
      groups: what is made; they pickle, and have slots.
      count: how many processes.
    """

    def __init__(self, groups: TrainGroups, *, count: int) -> None:
        self._left = iter(range(len(groups)))
        self._workers = []
        content = pickle.dumps(groups)
        context = multiprocessing.get_context("spawn")
        for index in range(count):
            here, there = context.Pipe(duplex=False)
            process = context.Process(
                target=_work, args=(content, index, count, there), daemon=True, name=f"data {index}"
            )
            process.start()
            there.close()
            self._workers.append((process, here))

    def __next__(self) -> Batch:
        process, pipe = self._workers[next(self._left) % len(self._workers)]
        wait([pipe, process.sentinel])
        try:
            found = pipe.recv() if pipe.poll() else None
        except (EOFError, OSError):
            found = None
        if found is None:
            process.join(_ENDING_S)  # until then it counts as one that is there
            raise WorkerLost(f"the worker {process.pid} ended with exit code {process.exitcode}")
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        """Ends the processes."""
        until = time.monotonic() + _ENDING_S
        for _, pipe in self._workers:
            pipe.close()  # which a worker notices with its next group
        for process, _ in self._workers:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _work(content: bytes, index: int, count: int, out: Connection) -> None:
    begin_worker(index)
    # A signal to the whole process group must not take the data away from a program that still has
    # to write a checkpoint, and a program that was killed cannot end its workers itself.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # nobody reads any more
        try:
            groups: TrainGroups = pickle.loads(content)
            for number in range(index, len(groups), count):
                out.send(groups[number])
        except BrokenPipeError:
            raise
        except Exception as error:
            out.send(_sent(error))


def _sent(error: Exception) -> Exception:
    """The error with what was under way, or its words where it would not arrive as it is."""
    error.add_note(f"in a worker:\n{traceback.format_exc()}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        said = RuntimeError(f"{type(error).__name__}: {error}")
        said.__notes__ = error.__notes__
        return said
    return error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
