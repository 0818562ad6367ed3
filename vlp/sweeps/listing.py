"""The sets of a suite as a table for the terminal: what is there, and how to get the rest."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlp.evals.writing import count, percent, plain
from vlp.sweeps.entry import Entry
from vlp.sweeps.places import Missing, find


def print_list(entries: Sequence[Entry], root: str, *, console: Console | None = None) -> None:
    """Prints a line a set.

    Args:
        entries: of suites.
        root: where sets lie.
        console: where to.
    """
    console = console or Console()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("set", "tasks", "metric", "pictures", "chance", "licence", "here"):
        table.add_column(name, justify="right" if name in ("pictures", "chance") else "left")
    missing = 0
    for entry in entries:
        try:
            layout, place = find(entry, root)
            here = Text(plain(f"{layout}: {place}"), style="green")
        except Missing as error:
            missing += 1
            here = Text(plain(_remedy(entry, error)), style="dim")
        table.add_row(
            Text(plain(entry.name)),
            ", ".join(entry.tasks) or "what it has",
            entry.metric,
            count(entry.samples) if entry.samples else "",
            "" if entry.chance is None else percent(entry.chance),
            entry.licence,
            here,
        )
    console.print(table)
    console.print(f"{len(entries) - missing} of {len(entries)} sets are there")


def _remedy(entry: Entry, error: Missing) -> str:
    return f"not here; {entry.needs or entry.source}" if entry.needs or entry.source else str(error)
