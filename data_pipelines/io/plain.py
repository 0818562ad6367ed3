"""What an opened file offers, and the files of this machine."""

import errno
import os
import stat
from pathlib import Path
from typing import Protocol

from data_pipelines.io.retries import FileChanged, with_retries


class File(Protocol):
    """A file that is read by stretches, from several threads at once.

    Attributes:
      address: where it lies.
      size: in bytes.
      length: how many bytes can be read: the size, but of what is unpacked on the way.
      tag: another one once the file has changed: its time in nanoseconds here, a store's ETag.
    """

    address: str
    size: int
    tag: str

    @property
    def length(self) -> int: ...

    def read(self, start: int, length: int) -> bytes:
        """The bytes of a stretch; fewer where the file ends before.

        Raises:
          OSError: they cannot be read, after some tries.
          FileChanged: the file is another one now.
        """
        ...

    def close(self) -> None:
        """Lets go of what is held; a file is not read after it."""
        ...


class LocalFile:
    """A file of this machine's file systems. See `File`.

    Raises:
      OSError: it cannot be opened, or is no plain file.
    """

    def __init__(self, path: str | Path) -> None:
        self.address = os.fspath(path)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # opening a pipe must not wait
        self._file = with_retries(lambda: os.open(self.address, flags))
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._file)
            raise OSError(errno.EINVAL, "is not a file", self.address)
        self.size, self._time = status.st_size, status.st_mtime_ns
        self.tag = str(self._time)

    @property
    def length(self) -> int:
        """The size."""
        return self.size

    def read(self, start: int, length: int) -> bytes:
        """The bytes of a stretch; fewer where the file ends before."""
        found = self._once(start, length)
        while 0 < len(found) < length:  # the kernel gives at most 2 GiB at once
            more = self._once(start + len(found), length - len(found))
            if not more:
                break
            found += more
        status = os.fstat(self._file)
        if status.st_size != self.size or status.st_mtime_ns != self._time:
            raise FileChanged(f"{self.address} changed while it was read")
        return found

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self._file)

    def _once(self, start: int, length: int) -> bytes:
        return with_retries(lambda: os.pread(self._file, length, start))
