"""An opened file as Python's libraries read one: with a place that moves on."""

import io
import os
from typing import Any

from data_pipelines.io.plain import File


class Stream(io.RawIOBase):
    """A file from its beginning, or from where `seek` leads. Not for several threads at once.

    Args:
      file: what is read; it is not closed with the stream.
    """

    def __init__(self, file: File) -> None:
        self._file, self._place = file, 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The place of the byte that is read next."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Goes to a place, counted from the beginning, from here or from the end."""
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._file.length}
        self._place = begin[whence] + offset
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Fills a buffer; returns how many bytes it holds then."""
        data = self._file.read(self._place, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
