"""Small reads that follow each other closely, made of fewer larger ones."""

from data_pipelines.io.plain import File

_AT_ONCE = 4096  # bytes; a page, which is what a disk reads anyway
_WHOLE = 2**18  # bytes; copied once more in the time that two reads take to begin


class Ahead:
    """Reads of a file between two places, each as far ahead as a page reaches; what was read stays.

    Args:
      file: which, as long as it is open.
      whole: all that is wanted will be read: it is at once where that is not much.
    """

    def __init__(self, file: File, *, whole: bool = False) -> None:
        self._file, self._stop = file, 0
        self._most = _WHOLE if whole else 0
        self._pieces: list[tuple[int, bytes]] = []

    def until(self, stop: int) -> None:
        """Says where what is wanted ends: nothing is read ahead of that."""
        self._stop = stop

    def read(self, start: int, length: int) -> bytes:
        """As `File.read`."""
        found = self.known(start, length)
        if found is not None:
            return found
        left = self._stop - start
        ahead = left if left <= self._most else min(_AT_ONCE, left)
        data = self._file.read(start, max(length, ahead))
        self._pieces.append((start, data))
        return data[:length]

    def known(self, start: int, length: int) -> bytes | None:
        """The bytes of a stretch, if all of them were read."""
        for begin, data in reversed(self._pieces):
            if begin <= start and start + length <= begin + len(data):
                return data[start - begin : start - begin + length]
        return None
