"""Where metrics go: a JSON line a step, TensorBoard, Weights & Biases; see also `progress`."""

import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from vlp.files import write_bytes

_log = logging.getLogger("vlp")


@runtime_checkable
class Tracker(Protocol):
    """Takes the metrics of one step after another."""

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Takes one step's metrics."""

    def close(self) -> None:
        """Writes what is still to be written."""


def begin(*makers: Callable[[], Tracker]) -> list[Tracker]:
    """The trackers that could be made; one that could not is reported and left out."""
    made = []
    for make in makers:
        try:
            made.append(make())
        except Exception as error:
            _log.error("training goes on without a tracker that failed: %s", error)
    return made


class Trackers:
    """Several trackers as one; one that fails is reported and left out, training goes on."""

    def __init__(self, trackers: Sequence[Tracker] = ()):
        self._trackers = list(trackers)

    def __bool__(self) -> bool:
        return bool(self._trackers)

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Hands one step's metrics to each."""
        for tracker in list(self._trackers):
            self._guarded(tracker, "log", step, row)

    def close(self) -> None:
        """Closes each."""
        for tracker in list(self._trackers):
            self._guarded(tracker, "close")

    def _guarded(self, tracker: Tracker, method: str, *arguments: Any) -> None:
        try:
            getattr(tracker, method)(*arguments)
        except Exception as error:
            self._trackers.remove(tracker)
            _log.warning("%s failed and is left out: %r", type(tracker).__name__, error)


class JsonLines:
    """One JSON object a line and step, in a file that a resumed run continues without a seam.

    Floats are written so that they read back to the bit; non-finite ones as null. Lines that cannot
    be written, as on a full disk, are said, kept and written with the next.

    Args:
        path: the file.
        resume_step: keep the lines up to this step; later ones and a torn last line go.
    """

    def __init__(self, path: Any, *, resume_step: int = 0):
        self._path = Path(path)
        _truncate(self._path, step=resume_step)
        self._file = self._path.open("ab", buffering=0)
        self._end = self._path.stat().st_size
        self._waiting = b""

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Appends one line; it is with the operating system when this returns."""
        values = {"step": step} | {name: _plain(value) for name, value in row.items()}
        first = not self._waiting
        self._waiting += json.dumps(values, allow_nan=False).encode() + b"\n"
        try:
            self._write()
        except OSError as error:
            if first:
                _log.error(
                    "%s cannot be written: %s; trying again with each step", self._path, error
                )

    def close(self) -> None:
        """Closes the file, its content on the disk."""
        with self._file:
            self._write()
            os.fsync(self._file.fileno())

    def _write(self) -> None:
        """Writes what waits behind what is whole, in place of what an earlier try left there."""
        if self._file.tell() != self._end:
            self._file.truncate(self._end)
            self._file.seek(self._end)
        written = self._file.write(self._waiting)
        if written != len(self._waiting):
            raise OSError(f"{written} of {len(self._waiting)} bytes written")
        self._end, self._waiting = self._end + written, b""


class TensorBoard:
    """Scalars as TensorBoard reads them.

    Args:
        directory: of the event files.
        resume_step: TensorBoard hides what an earlier run wrote after this step.
    """

    def __init__(self, directory: Any, *, resume_step: int = 0):
        from tensorboardX import SummaryWriter

        purge = {"purge_step": resume_step + 1} if resume_step else {}
        self._writer = SummaryWriter(str(directory), **purge)

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Writes one step's scalars."""
        for name, value in row.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes and closes the event file."""
        self._writer.close()


class WeightsAndBiases:
    """A run on Weights & Biases; a resumed run continues it under the same id.

    Args:
        project: name of the project.
        run_id: stable over restarts; of letters, digits, - and _.
        name: what the run is called on the page.
        config: what the run was started with.
        directory: of local files.

    Raises:
        ValueError: when the package is not installed.
    """

    def __init__(
        self,
        *,
        project: str,
        run_id: str,
        name: str | None = None,
        config: Any = None,
        directory: Any = None,
    ):
        try:
            import wandb
        except ImportError as error:
            raise ValueError(
                'tracking with wandb needs its package, which is missing; pip install "vlp[wandb]"'
            ) from error
        self._run = wandb.init(
            project=project, id=run_id, name=name, resume="allow", config=config, dir=directory
        )

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Sends one step's metrics."""
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        """Sends what is left and ends the run."""
        self._run.finish()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _truncate(path: Path, *, step: int) -> None:
    """Rewrites a file of JSON lines without those after `step` and without a torn one; atomic."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    lines = path.read_bytes().splitlines(keepends=True)
    parsed = ((line, _parsed(line)) for line in lines)
    write_bytes(path, b"".join(line for line, row in parsed if row and row["step"] <= step))


def read_rows(path: Any) -> list[dict[str, Any]]:
    """The rows that `JsonLines` has written, without a torn one; none where there is no file."""
    path = Path(path)
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else ()
    return [row for line in lines if (row := _parsed(line))]


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
