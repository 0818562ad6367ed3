"""The files of a run in an object store: here while it runs, and put up now and then.

Nothing can be appended to in a store, so what grows is put up whole: every minute, with each
checkpoint before it counts as saved, and at the end. A checkpoint never tells of steps whose
metrics are not there.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from etils import epath

from vlp.files import PARTIAL
from vlp.interop.card import FILE, TOKENIZER_FILES
from vlp.remote import get, names_in, own_folder, put, reached

EVERY_S = 60.0
# What the next start reads of a run.
_READ = (
    "config.json",
    "versions.json",
    "data.json",
    "run.json",
    "metrics.jsonl",
    "ids.jsonl",
    "rejects.jsonl",
)
_FOLDERS = ("results", "tensorboard", "profile")  # which are put up beside the files
_log = logging.getLogger("vlp")


class Mirror:
    """A folder here, and the one in a store that it stands for.

    Args:
        address: of the folder in the store.

    Attributes:
        folder: of this process alone.
    """

    def __init__(self, address: epath.Path):
        self.folder = own_folder()
        self._address = address
        self._up: dict[str, tuple[int, int]] = {}  # as the files were when they were put up
        self._one = threading.Lock()

    def fetch(self) -> None:
        """Fetches what a run that goes on reads, where there is one.

        Raises:
            ValueError: the store cannot be reached.
        """
        reached(self._address)
        there, process = names_in(self._address), jax.process_index()
        own = {f"ids-{process}.jsonl", f"rejects-{process}.jsonl"}
        for name in {*_READ, FILE, *TOKENIZER_FILES.values(), *own}:
            if name in there:
                get(self._address / name, self.folder / name)
                self._up[name] = _state(self.folder / name)

    def put_up(self) -> None:
        """Puts up the files that have changed; from any thread."""
        with self._one:
            for file in self._files():
                name, state = file.relative_to(self.folder).as_posix(), _state(file)
                if self._up.get(name) != state:
                    put(file, self._address / name)
                    self._up[name] = state

    def _files(self) -> Iterator[Path]:
        for path in sorted(self.folder.iterdir()):
            inside = sorted(path.rglob("*")) if path.name in _FOLDERS else [path]
            yield from (f for f in inside if f.is_file() and not f.name.endswith(PARTIAL))


class PutUp:
    """A tracker that puts the files of a run up every minute, beside the training.

    Args:
        mirror: of the run.
        seconds: between two times.
    """

    def __init__(self, mirror: Mirror, *, seconds: float = EVERY_S):
        self._mirror, self._seconds = mirror, seconds
        self._last = time.monotonic()
        self._thread = threading.Thread()

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Begins to put up what has changed, if it is time to."""
        if time.monotonic() - self._last < self._seconds or self._thread.is_alive():
            return
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._put_up, daemon=True, name="put up")
        self._thread.start()

    def close(self) -> None:
        """Waits for what has begun."""
        if self._thread.ident is not None:
            self._thread.join()

    def _put_up(self) -> None:
        try:
            self._mirror.put_up()
        except Exception as error:  # of a store that is away for a while
            _log.error("metrics could not be put up: %s; trying again later", error)


def _state(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size
