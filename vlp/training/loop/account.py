"""What the time of a run goes into, over all its starts: steps that count, and everything else."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

KINDS = {
    "step": "steps",
    "start": "starting",
    "compile": "compiling",
    "data": "waiting for data",
    "evaluation": "evaluating",
    "checkpoint": "saving",
    "lost": "steps done again",
}
"""What seconds are counted by, and in words."""
GOODPUT, STARTS = "perf/goodput", "time/starts"


class Account:
    """Seconds by what they went into; all that is not said to be something else is steps.

    The rows of metrics hold the sums, so that a run that goes on takes them up from there: what its
    last start did after the checkpoint is done again, and lost. Time between starts, and what a
    killed one did after its last row, is not known and not counted.

    Args:
        began: when this start began, as `time.monotonic` says; now if not given.
        rows: of metrics that earlier starts left, by ascending step.
        step: at which this one goes on.

    Attributes:
        seconds: by the keys of `KINDS`.
        starts: this one included.
    """

    def __init__(
        self,
        *,
        began: float | None = None,
        rows: Sequence[Mapping[str, Any]] = (),
        step: int = 0,
    ):
        self._last = time.monotonic() if began is None else began
        last = rows[-1] if rows else {}
        kept: Mapping[str, Any] = next((row for row in reversed(rows) if row["step"] <= step), {})
        self.seconds = {kind: _spent(last, kind) for kind in KINDS}
        again = self.seconds["step"] - _spent(kept, "step")
        self.seconds["step"] -= again
        self.seconds["lost"] += again
        self.starts = int(last.get(STARTS) or 0) + 1

    def until_now(self, kind: str) -> None:
        """Counts the time since it was called last as one kind."""
        now = time.monotonic()
        self.seconds[kind] += now - self._last
        self._last = now

    @contextlib.contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Counts the time inside as one kind, and that before as steps."""
        self.until_now("step")
        try:
            yield
        finally:
            self.until_now(kind)

    @property
    def goodput(self) -> float:
        """The share of the time that went into steps which count."""
        return self.seconds["step"] / max(sum(self.seconds.values()), 1e-9)

    def row(self) -> dict[str, float]:
        """The sums as metrics."""
        seconds = {f"time/{kind}_s": spent for kind, spent in self.seconds.items()}
        return {GOODPUT: self.goodput, STARTS: float(self.starts), **seconds}

    def facts(self) -> dict[str, str]:
        """The sums in words, for people: what there is any of."""
        said = {
            KINDS[kind]: f"{clock(spent)} ({spent / max(sum(self.seconds.values()), 1e-9):.1%})"
            for kind, spent in self.seconds.items()
            if spent >= 0.5 or kind == "step"
        }
        return {"starts": f"{self.starts}", **said}


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def _spent(row: Mapping[str, Any], kind: str) -> float:
    return float(row.get(f"time/{kind}_s") or 0.0)
