"""Batches by number to a stream of them, loaded ahead by threads or worker processes.

grain carries it: its threads, its workers and their shared memory.
"""

import multiprocessing
import os
import signal
import threading
from typing import TYPE_CHECKING, Protocol

from data_pipelines.assemble import Batch
from data_pipelines.watch import begin_worker

if TYPE_CHECKING:
    import grain

_SMALL = 2**16


class Batches(Protocol):
    """Batches, or groups of their rows, that any thread or process computes from their number."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Batch: ...


def prefetch(
    batches: Batches, *, num_threads: int, num_workers: int = 0
) -> "grain.DatasetIterator[Batch]":
    """An iterator over the batches in order; close it to end its threads and processes.

    Args:
      batches: what to load. They pickle if `num_workers` is not 0.
      num_threads: batches that are loaded at the same time; 0 loads when asked.
      num_workers: processes that load instead, each with one thread.
    """
    # Imported here: it takes longer to import than all else that reads pictures.
    import grain
    from absl import flags

    threads = 1 if num_workers else num_threads
    stream = grain.MapDataset.source(batches).to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    )
    if num_workers:
        if not flags.FLAGS.is_parsed():
            # grain asks absl for its own flags; a program without absl never parses any.
            flags.FLAGS.mark_as_parsed()
        # Arrays of a few bytes take less time through the queue than in memory of their own.
        options = grain.experimental.DatasetOptions(min_shm_size=_SMALL)
        stream = grain.experimental.WithOptionsIterDataset(stream, options).mp_prefetch(
            grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2),
            worker_init_fn=_start_worker,
        )
    return iter(stream)


def _start_worker(index: int, count: int) -> None:
    """Tells a worker which it is, and lets it live exactly as long as the program.

    A signal to the whole process group must not take the data away from a program that still has
    to write a checkpoint, and a program that was killed cannot end its workers itself.
    """
    del count  # what grain passes to every worker
    begin_worker(index)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
