"""One writer a folder of an object store, which has no locks: an object that its holder renews.

It is created only where there is none, which GCS and S3 both decide for one of several that try.
Its holder writes it anew every few seconds; one that stands still, as after its host died, is taken
over. No clocks are compared.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from typing import Any

import fsspec

from vlp.files import named
from vlp.parallel import lock
from vlp.parallel.holder import about_this_process, is_dead_here, refusal, say_watching
from vlp.remote import Name, remote

_log = logging.getLogger("vlp")


class StoreLock:
    """As `vlp.parallel.lock.Lock`, of a folder in an object store.

    Args:
        folder: which nobody else is to write to.

    Raises:
        ValueError: another process holds it; nothing is changed then.
        OSError: nothing can be written there, as where there is no such bucket.
    """

    def __init__(self, folder: Name) -> None:
        self.folder = remote(folder)
        self.path = self.folder / lock.NAME
        self._mine = about_this_process()
        self.token: str = self._mine["token"]
        self._beats = 0
        self._held, self._writing = threading.Event(), threading.Lock()
        self._store, self._at = fsspec.core.url_to_fs(os.fspath(self.path))

    def __enter__(self) -> StoreLock:
        if not self._created():
            before = self._read()
            if self._lives(before):
                raise ValueError(refusal(self.folder, before or {}))
            if self._read() == before:  # else another one has taken it over already
                with contextlib.suppress(FileNotFoundError):
                    self._store.rm_file(self._at)
            if not self._created():
                raise ValueError(refusal(self.folder, self._read() or {}))
            time.sleep(lock.SETTLE_S)  # for another one that was about to remove the old one
            if not self.is_seen(self.token):
                raise ValueError(refusal(self.folder, self._read() or {}))
        self._held.set()
        threading.Thread(target=self._beat, daemon=True, name="lock").start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.release()

    def release(self) -> None:
        """Gives the lock back; from any thread, and any number of times."""
        if not self._held.is_set():
            return
        self._held.clear()
        # Whoever comes next would wait, and take it over.
        with self._writing, contextlib.suppress(Exception):
            self._store.rm_file(self._at)

    def is_seen(self, token: str) -> bool:
        """Whether the object says this, here: on another machine the store may be another one."""
        found = self._read()
        return found is not None and found.get("token") == token

    def _created(self) -> bool:
        with named(self.path):
            try:
                self._store.pipe_file(self._at, self._content(), mode="create")
            except FileExistsError:
                return False
        return True

    def _content(self) -> bytes:
        return json.dumps(self._mine | {"beats": self._beats}).encode()

    def _read(self) -> dict[str, Any] | None:
        self._store.invalidate_cache()
        with contextlib.suppress(OSError, ValueError):
            return json.loads(self._store.cat_file(self._at))
        return None

    def _lives(self, holder: dict[str, Any] | None) -> bool:
        """Whether the holder gives a sign of life before he counts as dead."""
        if holder is None or is_dead_here(holder):
            return False
        say_watching(holder, self.folder, seconds=lock.STILL_S)
        until = time.monotonic() + lock.STILL_S
        while time.monotonic() < until:
            time.sleep(min(1.0, lock.BEAT_S / 4))
            now = self._read()
            if now != holder:
                return now is not None
        return False

    def _beat(self) -> None:
        while self._held.is_set():
            time.sleep(lock.BEAT_S)
            with self._writing, contextlib.suppress(Exception):  # a store that is away for a while
                if self._held.is_set() and not self._is_lost():
                    self._beats += 1
                    self._store.pipe_file(self._at, self._content())

    def _is_lost(self) -> bool:
        """Whether another one has taken the lock over, as from a process that stood still."""
        found = self._read()
        if found is None or found.get("token") == self.token:
            return False
        self._held.clear()  # so that what is the other's is neither written over nor removed
        _log.error("%s", refusal(self.folder, found))
        return True
