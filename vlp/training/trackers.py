"""Where metrics go: a JSON line a step, TensorBoard, Weights & Biases, and a progress bar."""

import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

_log = logging.getLogger("vlp")


@runtime_checkable
class Tracker(Protocol):
    """Takes the metrics of one step after another."""

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Takes one step's metrics."""

    def close(self) -> None:
        """Writes what is still to be written."""


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

    Floats are written so that they read back to the bit; non-finite ones as null.

    Args:
        path: the file.
        resume_step: keep the lines up to this step; later ones and a torn last line go.
    """

    def __init__(self, path: Any, *, resume_step: int = 0):
        self._path = Path(path)
        _truncate(self._path, step=resume_step)
        self._file = self._path.open("a", encoding="utf-8")

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Appends one line; it is with the operating system when this returns."""
        values = {"step": step} | {name: _plain(value) for name, value in row.items()}
        self._file.write(json.dumps(values, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file, its content on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


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
        run_id: stable over restarts, such as the name of the run's folder.
        config: what the run was started with.
        directory: of local files.

    Raises:
        ValueError: when the package is not installed.
    """

    def __init__(self, *, project: str, run_id: str, config: Any = None, directory: Any = None):
        try:
            import wandb
        except ImportError as error:
            raise ValueError(
                'tracking with wandb needs its package, which is missing; pip install "vlp[wandb]"'
            ) from error
        self._run = wandb.init(
            project=project, id=run_id, resume="allow", config=config, dir=directory
        )

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Sends one step's metrics."""
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        """Sends what is left and ends the run."""
        self._run.finish()


class Progress:
    """The loss, the speed and the time left: a bar on a terminal, else a line now and then.

    Args:
        steps: length of the run.
        start: steps done before.
        seconds: between two lines where there is no terminal.
    """

    def __init__(self, steps: int, *, start: int = 0, seconds: float = 10.0):
        from rich.console import Console

        self._steps, self._seconds = steps, seconds
        self._began, self._last, self._start = time.monotonic(), -math.inf, start
        self._bar = self._task = None
        console = Console()
        if console.is_terminal:
            self._bar = _bar(console)
            self._task = self._bar.add_task("", total=steps, completed=start, note="")
            self._bar.start()

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Shows one step."""
        note = _note(row)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, note=note)
            return
        now = time.monotonic()
        if now - self._last >= self._seconds or step == self._steps:
            self._last = now
            left = (now - self._began) / max(step - self._start, 1) * (self._steps - step)
            print(f"step {step}/{self._steps}  {note}  {_clock(left)} left", flush=True)

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.stop()


def _bar(console: Any) -> Any:
    from rich import progress

    return progress.Progress(
        progress.BarColumn(bar_width=None),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[note]}"),
        progress.TimeRemainingColumn(),
        console=console,
    )


def _note(row: Mapping[str, Any]) -> str:
    loss, speed = row.get("train/loss", math.nan), row.get("perf/pairs_per_s")
    return f"loss {loss:.4f}" + (f"  {speed:,.0f} pairs/s" if speed else "")


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _truncate(path: Path, *, step: int) -> None:
    """Rewrites a file of JSON lines without those after `step` and without a torn one; atomic."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        row = _parsed(line)
        if row is not None and row["step"] <= step:
            kept.append(line)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
