"""What identifies data: a hash of names, sizes and content that reads little of large files.

Of a file all is hashed up to 32 KiB, of a larger one eight blocks of 4 KiB that are spread evenly
over it, the first and the last included; of a text all up to 1 MiB. Times, owners and the folder in
which the data lie have no part in it: a copy is the same data.

A fingerprint has two halves. The first (names, sizes, last bytes) is all that earlier versions had
and stored, so `same_data` knows data of which only that half was stored.
"""

import hashlib
import re
from collections.abc import Callable, Iterator

TAIL, TEXT_BYTES = 64, 2**20
_BLOCK, _BLOCKS = 4096, 8
_SECOND = re.compile(r"\+[0-9a-f]{64}")


class Fingerprint:
    """A fingerprint in the making.

    Args:
      begun: a hash of what belongs to the data beside the files that are added.
    """

    def __init__(self, begun: "hashlib._Hash | None" = None) -> None:
        self._tails, self._contents = begun or hashlib.sha256(), hashlib.sha256()

    def add(
        self, name: str, read: Callable[[int, int], bytes], size: int, *, text: bool, tail: int
    ) -> None:
        """Adds a file, or a stretch of one. Raises OSError before anything is added.

        Args:
          name: what it is called in the data.
          read: gives the bytes from a place in it on, so many.
          size: its bytes.
          text: whether it is one, and hashed up to 1 MiB.
          tail: how many of its last bytes the first half holds.
        """
        count = min(size, tail)
        end = read(size - count, count)
        places = _places(size, TEXT_BYTES if text else _BLOCKS * _BLOCK)
        content = b"".join(read(place, length) for place, length in places)
        self._tails.update(b"%s\0%d\0%s\0" % (_encoded(name), size, end))
        self._contents.update(content)

    def add_missing(self, name: str) -> None:
        """Adds a file that cannot be read."""
        self._tails.update(b"%s\0-1\0\0" % _encoded(name))

    def hexdigest(self) -> str:
        """Both halves."""
        return f"{self._tails.hexdigest()}+{self._contents.hexdigest()}"


def joined(fingerprints: str) -> str:
    """The fingerprint of data made of parts, from the parts' own, one after the other."""
    return f"{_sha256(_SECOND.sub('', fingerprints))}+{_sha256(fingerprints)}"


def same_data(there: object, here: object) -> bool:
    """Whether what was stored is the fingerprint of these data, by this or an earlier version.

    Anything else than fingerprints is only compared.
    """
    return there == here or (isinstance(here, str) and there == _SECOND.sub("", here))


def _places(size: int, whole: int) -> Iterator[tuple[int, int]]:
    """Start and length of what is hashed of a content of this size; all of it up to `whole`."""
    if size <= whole:
        yield 0, size
    else:
        for block in range(_BLOCKS):
            yield block * (size - _BLOCK) // (_BLOCKS - 1), _BLOCK


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
