"""How far a sweep is: a bar of rows, one of the pictures of the set at hand, a line a row."""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import jax
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vlp.evals.results import Cell
from vlp.evals.writing import plain
from vlp.sweeps.entry import Entry
from vlp.sweeps.names import titled


class Bars:
    """Shown while entered, by process 0, on standard error; rows are printed on standard output."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._first = jax.process_index() == 0
        self._console = Console(stderr=True)
        self._progress = Progress(*columns, console=self._console, disable=not self._first)
        self._rows = self._progress.add_task("rows", total=None, visible=False)
        self._now = self._progress.add_task("", total=None, visible=False)

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def opening(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """The entries, while their sets are opened."""
        for number, entry in enumerate(entries):
            self.say(f"opening {entry.name}", done=number, pictures=len(entries))
            yield entry

    def start(self, *, rows: int, done: int) -> None:
        """Shows how many rows there will be, and how many there are already."""
        self._progress.update(self._rows, total=rows, completed=done, visible=True)
        if done:
            self.print(f"{done:,} of {rows:,} rows are there already")

    def say(self, what: str, *, pictures: int | None = None, done: int = 0) -> None:
        """Says what is done now, of how many pictures where they are counted."""
        self._progress.update(
            self._now, description=plain(what), total=pictures, completed=done, visible=True
        )

    def pictures(self, done: int) -> None:
        """Shows how many pictures of the set are done."""
        self._progress.update(self._now, completed=done)

    def row(self, row: Mapping[str, Any]) -> None:
        """Shows a row that was written."""
        self._progress.advance(self._rows)
        where = f"{titled(row['model'], row['step'])}  {row['set']}  {row['task']}"
        if "failed" in row:
            self.print(f"{where}  failed: {row['failed']}", style="red")
            return
        metrics = row["metrics"]
        name = row["main"] if row["main"] in metrics else next(iter(metrics), "")
        value = metrics[name]["value"] if name else None
        written = (
            "-" if value is None else Cell(name.rpartition("/")[2], value, None).written(value)
        )
        self.print(f"{where}  {name} {written}")

    def print(self, line: str, *, style: str = "") -> None:
        """Prints a line above the bars."""
        if self._first:
            self._console.print(Text(plain(line), style=style), soft_wrap=True)
