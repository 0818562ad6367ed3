"""Memory in which workers hand over groups of rows: mapped by all, and used again and again.

Rows are written where they are read. Shared memory that is made for each group costs more than the
copy into it: its pages are made and cleared anew, which took a tenth of the time of decoding.
"""

import itertools
import os
import tempfile
import time
import weakref
from typing import Any

import numpy as np

from data_pipelines.watch import worker

_EACH = 6  # groups that a worker is ahead at most, with the one that it makes and one that is read
_WAIT_S = 1e-3
_TAKEN = " taken"  # beside the fields' names


class Slots:
    """Room for some groups of each worker. Pickles, and is then the same memory.

    Args:
      row: a row of each field, with the leading axis.
      rows: of a group, at most.
      workers: how many write.
    """

    def __init__(self, row: dict[str, np.ndarray], *, rows: int, workers: int) -> None:
        fields = [(name, array.dtype, (rows, *array.shape[1:])) for name, array in row.items()]
        self._type = np.dtype([(_TAKEN, np.int64), *fields], align=True)
        self._count = workers * _EACH
        self._path = _made(self, self._count * self._type.itemsize)
        self._open()

    def _open(self) -> None:
        self._slots = np.memmap(self._path, self._type, "r+", shape=(self._count,))
        self._next = itertools.count()

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_type": self._type, "_count": self._count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def take(self) -> int:
        """A slot of this worker that nobody reads, waited for; it is taken from now on."""
        slot = worker() * _EACH + next(self._next) % _EACH
        taken = self._slots[_TAKEN]
        while taken[slot]:
            time.sleep(_WAIT_S)
        taken[slot] = 1
        return slot

    def rows(self, slot: int, count: int) -> dict[str, np.ndarray]:
        """The first rows of a slot by field."""
        found = self._slots[slot]
        names = self._type.names or ()
        return {name: np.asarray(found[name])[:count] for name in names if name != _TAKEN}

    def free(self, slot: int) -> None:
        """Gives a slot back to its worker."""
        self._slots[_TAKEN][slot] = 0

    def clear(self) -> None:
        """Gives all of them back: nobody waits any more."""
        self._slots[_TAKEN][:] = 0


def _made(owner: Slots, size: int) -> str:
    """The path of a file that is there as long as its owner is."""
    if hasattr(os, "memfd_create"):  # which is gone with its process, however that ends
        handle = os.memfd_create("vlp-rows")
        weakref.finalize(owner, os.close, handle)
        os.truncate(handle, size)
        return f"/proc/{os.getpid()}/fd/{handle}"
    handle, path = tempfile.mkstemp(prefix="vlp-rows-")
    weakref.finalize(owner, os.unlink, path)
    os.truncate(handle, size)
    os.close(handle)
    return path
