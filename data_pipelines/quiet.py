"""Pillow's warnings kept to itself."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Warnings about damaged metadata, which have no switch in Pillow, are dropped inside.

    Python restores its filters rightly only where one thread at a time changes them, so the lock;
    keep what is inside short, and off the ways that every sample of a training takes.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
