"""Reading again what a disk or a store did not give at once."""

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

TRIES = 5
FIRST_WAIT_S = 0.1
# What no second try mends. All else (EIO, ESTALE, time-outs, cut connections, 5xx) may pass.
_FINAL = (
    errno.EBADF,
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EINVAL,
)
_FINAL_STATUS = range(400, 500)
_PASSING_STATUS = (408, 425, 429)
_Read = TypeVar("_Read")


class FileChanged(OSError):
    """A file is no more what it was when it was opened."""


def with_retries(read: Callable[[], _Read]) -> _Read:
    """What a function returns, called up to five times with growing pauses while it fails.

    Pauses are 0.1 s, 0.2 s, 0.4 s, 0.8 s, each times a random number in 0.5..1.5, so that many
    readers do not come back together.

    Raises:
      OSError: it failed five times, or in a way that does not pass.

    References:
      Brooker, 2015, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    for number in range(TRIES):
        try:
            return read()
        except Exception as error:
            if not isinstance(error, OSError) and not is_of_a_store(error):
                raise
            if number == TRIES - 1 or is_final(error):
                raise
            time.sleep(FIRST_WAIT_S * 2**number * random.uniform(0.5, 1.5))
    raise AssertionError("the last try returns or raises")


def is_of_a_store(error: Exception) -> bool:
    """Whether an error was raised by what reaches a store, which have no class in common."""
    known = ("aiohttp", "botocore", "aiobotocore", "gcsfs", "google", "fsspec", "s3fs", "asyncio")
    return type(error).__module__.partition(".")[0] in known


def is_final(error: Exception) -> bool:
    """Whether a further try is in vain."""
    status = getattr(error, "status", None) or getattr(error, "code", None)
    if isinstance(status, int) and status in _FINAL_STATUS:
        return status not in _PASSING_STATUS
    return isinstance(error, OSError) and (
        error.errno in _FINAL
        or isinstance(error, FileNotFoundError | PermissionError | FileChanged)
    )
