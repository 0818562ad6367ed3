"""Files in stores, by fsspec: read in blocks that are kept a while, and a little ahead."""

import errno
import time
from collections.abc import Callable
from typing import Any, TypeVar

from data_pipelines.io import disk_cache
from data_pipelines.io.blocks import blocks
from data_pipelines.io.retries import FileChanged, is_of_a_store, with_retries

BLOCK_BYTES = 4 * 2**20
# A store is asked so often, in seconds, whether a file that is being read is still the same.
CHECKED_EVERY_S = 60.0
_TAGS = ("ETag", "etag", "md5Hash", "generation", "Last-Modified", "LastModified", "created")
_Read = TypeVar("_Read")


class RemoteFile:
    """A file in a store. See `File`. Pickles as its address, size and tag.

    Blocks of 4 MiB are fetched whole, each with its own tries; whoever reads on finds the next
    ones under way.

    Raises:
      OSError: it is not there, or nobody answers.
      ValueError: see `disk_cache.check`.
    """

    def __init__(self, address: str) -> None:
        disk_cache.check()
        self.address = address
        self.size, self.tag = self._now()
        self._checked = time.monotonic()

    @property
    def length(self) -> int:
        """The size."""
        return self.size

    def read(self, start: int, length: int) -> bytes:
        """The bytes of a stretch; fewer where the file ends before."""
        stop = min(start + length, self.size)
        if stop <= start:
            return b""
        if time.monotonic() - self._checked > CHECKED_EVERY_S:
            self._check()
        first, last = start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES
        parts = [self._block(number) for number in range(first, last + 1)]
        parts[-1] = parts[-1][: stop - last * BLOCK_BYTES]
        parts[0] = parts[0][start - first * BLOCK_BYTES :]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Nothing is held: blocks are dropped when others need their place."""

    def _block(self, number: int) -> bytes:
        ends = -(-self.size // BLOCK_BYTES)
        return blocks().get((self.address, self.tag), number, ends, self._fetch)

    def _fetch(self, number: int) -> bytes:
        start = number * BLOCK_BYTES
        stop = min(start + BLOCK_BYTES, self.size)

        def once() -> bytes:
            store, path = store_of(self.address)
            data: bytes = store.cat_file(path, start=start, end=stop)
            if len(data) != stop - start:  # a connection that was cut, or a server without ranges
                self._check()
                said = f"bytes {start} to {stop} were asked for, {len(data)} came"
                raise OSError(errno.EIO, said, self.address)
            return data

        return answered(once)

    def _check(self) -> None:
        if self._now() != (self.size, self.tag):
            raise FileChanged(f"{self.address} changed while it was read")
        self._checked = time.monotonic()

    def _now(self) -> tuple[int, str]:
        store, path = store_of(self.address)
        found = answered(lambda: store.info(path))
        size = found.get("size")
        if size is None:
            said = "the server does not say how large the file is"
            raise OSError(errno.EIO, said, self.address)
        return int(size), next((f"{name}={found[name]}" for name in _TAGS if found.get(name)), "")


def store_of(address: str) -> tuple[Any, str]:
    """The store of an address, and the path in it; asked for anew, for none survives a fork."""
    import fsspec  # only where there is something in a store

    # What others write is in no listing that was kept.
    return fsspec.core.url_to_fs(address, use_listings_cache=False)


def answered(ask: Callable[[], _Read]) -> _Read:
    """What a store answers, asked again where it fails; its own errors become OSErrors with a
    number, for one without is what decoders say of damaged bytes."""
    try:
        return with_retries(ask)
    except Exception as error:
        bare = type(error) is OSError and error.errno is None  # gcsfs: "Forbidden: ..."
        if not bare and (isinstance(error, OSError) or not is_of_a_store(error)):
            raise
        reason = f"{'' if bare else f'{type(error).__name__}: '}{error}".partition("\n")[0]
        if getattr(error, "status", None) in (401, 403) or reason.startswith("Forbidden"):
            raise PermissionError(reason) from error
        raise OSError(errno.EIO, reason) from error
