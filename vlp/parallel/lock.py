"""One writer a folder: a lock that dies with its process, on one machine and over several.

The kernel holds the lock (`flock`), so that it ends with the process, however that ends. Some file
systems know no such locks, or keep them to one machine. So its file says who holds it, and its time
is set anew every few seconds while he lives: where the kernel cannot tell whether a holder on
another machine is alive, that time is watched, and a lock whose time stands still is taken over.
No clocks are compared.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jax.experimental import multihost_utils

from vlp.files import named
from vlp.parallel.holder import about_this_process, machine, refusal, say_watching
from vlp.parallel.lifeline import Lifeline
from vlp.parallel.together import everywhere, on_first

NAME = ".vlp.lock"
BEAT_S = 10.0  # between two signs of life
STILL_S = 90.0  # without one a holder on another machine counts as dead
SETTLE_S = 2.0  # where the kernel locks nothing: until everyone sees who wrote last
SHARED_S = 30.0  # until what one machine writes is seen on the others
_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)


@runtime_checkable
class Writer(Protocol):
    """A lock, of whatever kind: `Lock`, or `StoreLock` in an object store."""

    folder: Any
    token: str

    def __enter__(self) -> Any:
        """Takes it; raises ValueError where another process holds it."""

    def release(self) -> None:
        """Gives it back, any number of times."""

    def is_seen(self, token: str) -> bool:
        """Whether that token holds it, as it looks from here."""


class Lock:
    """Held while entered, by one process; the folder is made if it is missing.

      with Lock(workdir):
          ...

    A folder that was made for the lock and is still empty at the end is removed again.

    Args:
        folder: which nobody else is to write to.
        name: of the lock's file in it.

    Attributes:
        folder, path: the folder, and the lock's file in it.
        token: what the file says while this lock is held.

    Raises:
        ValueError: another process holds it; nothing is changed then.
    """

    def __init__(self, folder: str | os.PathLike[str], *, name: str = NAME) -> None:
        self.folder = Path(folder)
        self.path = self.folder / name
        self.token = secrets.token_hex(8)
        self._file: int | None = None
        self._made: list[Path] = []
        self._released = threading.Event()

    @classmethod
    def beside(cls, file: str | os.PathLike[str]) -> Lock:
        """The lock of a single file, which lies beside it."""
        return cls(Path(file).parent, name=f".{Path(file).name}.lock")

    def __enter__(self) -> Lock:
        self._made = [
            path for path in (self.folder, *self.folder.parents) if not os.path.lexists(path)
        ]
        try:
            while self._file is None:  # anew where the holder before has just removed the file
                self._file = self._opened()
        except BaseException:
            self._remove_made()
            raise
        threading.Thread(target=self._beat, daemon=True, name="lock").start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.release()

    def release(self) -> None:
        """Gives the lock back; from any thread, and any number of times."""
        file, self._file = self._file, None
        if file is None:
            return
        self._released.set()
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(file)
        self._remove_made()

    def is_seen(self, token: str) -> bool:
        """Whether the file says this, here: on another machine the folder may be another one."""
        with contextlib.suppress(OSError, ValueError):
            return json.loads(self.path.read_bytes())["token"] == token
        return False

    def _remove_made(self) -> None:
        for folder in self._made:
            with contextlib.suppress(OSError):  # something is in it now
                folder.rmdir()

    def _opened(self) -> int | None:
        """The lock's file, now this process's; None when it went away on the way there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            return None
        try:
            if self._taken(file):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return None

    def _taken(self, file: int) -> bool:
        """Takes the lock; False when another one has removed the file meanwhile."""
        alone = _flock(file)
        if alone is False:
            raise ValueError(refusal(self.folder, _read(file)))
        if not self._is_there(file):
            return False
        holder = _read(file)
        if holder and not (alone and holder.get("machine") == machine()):
            if self._moves(holder):
                raise ValueError(refusal(self.folder, holder))
            if not self._is_there(file):
                return False
        mine = about_this_process() | {"token": self.token}
        with named(self.path):
            _write(file, mine)
        if alone is None:
            time.sleep(SETTLE_S)
            if _read(file) != mine:
                raise ValueError(refusal(self.folder, _read(file)))
        return True

    def _is_there(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self.path.stat())
        except FileNotFoundError:
            return False

    def _moves(self, holder: dict[str, Any]) -> bool:
        """Whether the holder gives a sign of life before he counts as dead."""
        say_watching(holder, self.folder, seconds=STILL_S)
        before, until = self._time(), time.monotonic() + STILL_S
        while time.monotonic() < until:
            time.sleep(min(1.0, BEAT_S / 4))
            now = self._time()
            if now is None:
                return False
            if now != before:
                return True
        return False

    def _time(self) -> int | None:
        """When the file was last touched; opened for it, as NFS answers from its cache else."""
        try:
            with self.path.open("rb") as file:
                return os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return None

    def _beat(self) -> None:
        while not self._released.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self.path)


@contextlib.contextmanager
def only_writer(lock: Writer) -> Iterator[None]:
    """While entered, no other command writes where the lock is, and the processes end together.

      with only_writer(Lock(args.out)):
          ...

    Process 0 holds the lock. Every process must enter this at the same time; see `Lifeline` for
    what an error on one of them does.

    Raises:
        ValueError: another command writes there, or the folder is not the same for all processes.
    """
    with Lifeline(at_end=lock.release):
        on_first(lock.__enter__)
        try:
            sent = np.frombuffer(lock.token.encode(), np.uint8)
            token = np.asarray(multihost_utils.broadcast_one_to_all(sent), np.uint8)
            everywhere(lambda: _check_shared(lock, token.tobytes().decode()))
            yield
        finally:
            lock.release()


def _check_shared(lock: Writer, token: str) -> None:
    until = time.monotonic() + SHARED_S
    while not lock.is_seen(token):
        if time.monotonic() > until:
            raise ValueError(
                f"{lock.folder} must be a folder that all processes share, this one does not see "
                "what process 0 writes there; give one on a shared disk"
            )
        time.sleep(0.2)


def _flock(file: int) -> bool | None:
    """Whether the kernel gave the lock; None where the file system has none to give."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        raise
    return True


def _read(file: int) -> dict[str, Any]:
    """What the file says of the holder; nothing where it is empty or half written."""
    try:
        found = json.loads(os.pread(file, 4096, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: int, about: dict[str, Any]) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(about).encode(), 0)
