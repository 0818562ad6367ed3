"""What a run says while it trains: the step, the loss, the speed, the time left, and its pauses."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from vlp.training.loop.account import clock


class Progress:
    """A bar on a terminal, else a line now and then; a tracker, and a witness of pauses.

    Speed and time left are averages over the steps since this start. The first one, which compiles,
    does not count in them, nor do pauses.

    Args:
        steps: length of the run.
        start: steps done before.
        seconds: between two lines where there is no terminal.
        shown: whether to say anything; on one process of several.
    """

    def __init__(self, steps: int, *, start: int = 0, seconds: float = 10.0, shown: bool = True):
        from rich.console import Console

        self._steps, self._seconds, self._shown = steps, seconds, shown
        self._last = -math.inf  # when a line was printed
        self._first: tuple[int, float] | None = None  # the step behind the first one, and when
        self._paused = 0.0  # since then
        self._seen, self._pairs = start, 0.0
        self._bar = self._task = None
        console = Console()
        if console.is_terminal and shown:
            self._bar = _bar(console)
            self._task = self._bar.add_task("", total=steps, completed=start, note="")
            self._bar.start()

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Shows one step."""
        now = time.monotonic()
        note = f"loss {row.get('train/loss', math.nan):.4f}"
        if self._first is None:
            self._first, self._paused, self._seen = (step, now), 0.0, step
        # Steps between two rows were of as many pairs as the one that has a row.
        self._pairs += row.get("train/pairs", 0.0) * (step - self._seen)
        self._seen = step
        left = None
        if done := step - self._first[0]:
            active = max(now - self._first[1] - self._paused, 1e-9)
            left = active / done * (self._steps - step)
            note += f"  {self._pairs / active:,.0f} pairs/s"
        if left is not None:
            note += f"  {clock(left)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, note=note)
        elif now - self._last >= self._seconds or step == self._steps:
            self._last = now
            print(f"step {step}/{self._steps}  {note}", flush=True)

    @contextlib.contextmanager
    def pause(self, what: str) -> Iterator[None]:
        """Says what is done instead of steps, and for how long, until it is done.

        Args:
            what: such as "evaluating twemoji".
        """
        began, over = time.monotonic(), threading.Event()

        def tick() -> None:
            wait = 1.0  # what is over at once need not be said
            while not over.wait(wait):
                self._say(f"{what} ({time.monotonic() - began:.0f} s so far)")
                wait = 1.0 if self._bar is not None else self._seconds

        ticking = threading.Thread(target=tick, daemon=True)
        ticking.start()
        try:
            yield
        finally:
            over.set()
            ticking.join()
            self._paused += time.monotonic() - began

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.stop()

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, note=text)
        elif self._shown:
            print(text, flush=True)


def _bar(console: Any) -> Any:
    from rich import progress

    return progress.Progress(
        progress.BarColumn(bar_width=None),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[note]}"),
        console=console,
    )
