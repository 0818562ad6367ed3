"""Batches by number to a stream of them, loaded ahead by the threads of grain."""

from typing import TYPE_CHECKING, Protocol

from data_pipelines.assemble import Batch

if TYPE_CHECKING:
    import grain


class Batches(Protocol):
    """Batches, or groups of their rows, that any thread computes from their number."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Batch: ...


def prefetch(batches: Batches, *, num_threads: int) -> "grain.DatasetIterator[Batch]":
    """An iterator over the batches in order; close it to end its threads.

    Args:
      batches: what to load.
      num_threads: batches that are loaded at the same time; 0 loads when asked.
    """
    # Imported here: it takes longer to import than all else that reads pictures.
    import grain

    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=2 * num_threads)
    return iter(grain.MapDataset.source(batches).to_iter_dataset(options))
