"""Files that stay open while they are read, a bounded number of them."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from data_pipelines.io.address import open_file
from data_pipelines.io.plain import File

MOST = 128  # of the usual 1,024 descriptors of a process


class OpenFiles:
    """The files that were read last, by address. Pickles as none, to be opened where it arrives."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, list[Any]] = OrderedDict()  # file, and how many read it
        self._lock = threading.Lock()

    @contextmanager
    def reading(self, address: str) -> Iterator[File]:
        """A file, which stays open at least until the end.

        Raises:
          OSError: it cannot be opened.
        """
        with self._lock:
            entry = self._found.get(address)
            if entry is not None:
                entry[1] += 1
                self._found.move_to_end(address)
        if entry is None:
            entry = self._enter(address, open_file(address))
        try:
            yield entry[0]
        finally:
            self._leave(entry)

    def forget(self, address: str) -> None:
        """Opens a file anew when it is read the next time."""
        with self._lock:
            entry = self._found.pop(address, None)
            if entry is not None and not entry[1]:
                entry[0].close()

    def _enter(self, address: str, file: File) -> list[Any]:
        with self._lock:
            entry = self._found.get(address)
            if entry is not None:  # another thread was first
                file.close()
            else:
                entry = self._found[address] = [file, 0]
            entry[1] += 1
            self._close_oldest()
            return entry

    def _close_oldest(self) -> None:
        for address, (file, readers) in list(self._found.items()):
            if len(self._found) <= MOST:
                return
            if not readers:
                del self._found[address]
                file.close()

    def _leave(self, entry: list[Any]) -> None:
        with self._lock:
            entry[1] -= 1
            if not entry[1] and self._found.get(entry[0].address) is not entry:
                entry[0].close()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, _: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]

    def __del__(self) -> None:
        for file, _ in self.__dict__.get("_found", {}).values():
            file.close()
