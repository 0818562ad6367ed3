"""Blocks of remote files that this process keeps in memory, and reads ahead.

A block is fetched once however many threads want it. Whoever reads a file from block to block finds
the next ones under way, so that a store's latency is waited for once and not at every block.
"""

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from data_pipelines.io.disk_cache import kept

_LOG = logging.getLogger(__name__)
KEPT = 48  # blocks of 4 MiB: 192 MiB a process
AHEAD = 4
_THREADS = 8
PATIENCE_S = 120.0  # for a block, its tries included: a store that hangs must not hang a run


class Blocks:
    """The blocks that were read last, by file and number."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[Hashable, int], Future[bytes]] = OrderedDict()
        self._latest: tuple[Hashable, int] | None = None  # what was asked for last
        self._lock = threading.Lock()
        self._threads = _Threads()

    def get(
        self, file: tuple[str, str], number: int, count: int, fetch: Callable[[int], bytes]
    ) -> bytes:
        """A block.

        Args:
          file: address and tag.
          number: of the block.
          count: of blocks in the file.
          fetch: gets one by its number.

        Raises:
          OSError: it cannot be fetched, or does not come in two minutes; the next call tries again.
        """
        until = time.monotonic() + PATIENCE_S
        while True:
            wanted = self._wanted(file, number, count, fetch)
            try:
                return wanted.result(timeout=max(0.0, until - time.monotonic()))
            except BaseException as error:
                wanted.cancel()  # unless it has begun: it would keep others waiting
                with self._lock:
                    if self._found.get((file, number)) is wanted:
                        del self._found[file, number]
                if not isinstance(error, CancelledError):  # else somebody gave up waiting before
                    raise

    def _wanted(
        self, file: tuple[str, str], number: int, count: int, fetch: Callable[[int], bytes]
    ) -> "Future[bytes]":
        with self._lock:
            if self._threads.all_hang():
                self._renew()
            wanted = self._found.get((file, number))
            if wanted is None or _failed(wanted) or self._latest != (file, number):
                self._latest = file, number
                goes_on = (file, number - 1) in self._found
                ahead = range(number, min(number + 1 + AHEAD * goes_on, count))
                wanted = [self._asked(file, each, fetch) for each in ahead][0]
            return wanted

    def _renew(self) -> None:
        _LOG.warning(
            "%d reads of stores have hung for more than %g s; others go on by new threads",
            _THREADS,
            PATIENCE_S,
        )
        self._threads.leave()
        self._threads = _Threads()
        there = [each for each in self._found.items() if each[1].done() and not each[1].cancelled()]
        self._found = OrderedDict(there)

    def _asked(
        self, file: tuple[str, str], number: int, fetch: Callable[[int], bytes]
    ) -> "Future[bytes]":
        place = (file, number)
        known = self._found.get(place)
        if known is None or _failed(known):  # what failed ahead is tried again once it is wanted
            while len(self._found) >= KEPT:
                self._found.popitem(last=False)
            self._found[place] = self._threads.submit(lambda: kept(file, number, fetch))
        self._found.move_to_end(place)
        return self._found[place]


def _failed(block: "Future[bytes]") -> bool:
    return block.done() and not block.cancelled() and block.exception() is not None


class _Threads:
    """Threads that fetch, and since when each is at what it fetches."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="blocks")
        self._since: dict[int, float] = {}

    def submit(self, fetch: Callable[[], bytes]) -> "Future[bytes]":
        """What is fetched once one of them is free."""
        return self._pool.submit(self._fetched, fetch)

    def all_hang(self) -> bool:
        """Whether each of them is at something that nobody waits for any more."""
        since = [*self._since.values()]
        return len(since) == _THREADS and max(since) < time.monotonic() - PATIENCE_S

    def leave(self) -> None:
        """Cancels what none of them has begun; they end with what they are at."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fetched(self, fetch: Callable[[], bytes]) -> bytes:
        own = threading.get_ident()
        self._since[own] = time.monotonic()
        try:
            return fetch()
        finally:
            del self._since[own]


_OF_PROCESS: dict[int, Blocks] = {}
_ONE_AT_A_TIME = threading.Lock()


def blocks() -> Blocks:
    """Those of this process; a forked one begins with none, for threads do not come along."""
    with _ONE_AT_A_TIME:
        return _OF_PROCESS.setdefault(os.getpid(), _OF_PROCESS.get(os.getpid()) or Blocks())


def _after_fork() -> None:
    global _ONE_AT_A_TIME
    _ONE_AT_A_TIME = threading.Lock()
    _OF_PROCESS.clear()


os.register_at_fork(after_in_child=_after_fork)
