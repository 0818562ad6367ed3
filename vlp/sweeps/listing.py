"""The sets of a suite as a table for the terminal: what is there, and how to get the rest."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vlp.evals.writing import count, percent, plain
from vlp.sweeps.entry import Entry
from vlp.sweeps.places import Missing, find

_RIGHT = ("pictures", "chance")
# What there is room for, by how many characters a line has.
_COLUMNS = {
    0: ("set", "task", "pictures", "here"),
    120: ("set", "task", "metric", "pictures", "chance", "templates", "licence", "here"),
    180: ("set", "task", "metric", "pictures", "chance", "split", "classes", "templates",
          "licence", "here"),
}  # fmt: skip
_FOLDED = ("licence",)
_LEAST, _MOST = {"here": 14, "licence": 18, "task": 14}, {"templates": 14, "classes": 18}


def print_list(entries: Sequence[Entry], root: str, *, console: Console | None = None) -> None:
    """Prints a line a set, and below what one must do to get those that are not there.

    Args:
        entries: of suites.
        root: where sets lie.
        console: where to; the wider, the more is said of each set.
    """
    console = console or Console()
    columns = _COLUMNS[max(width for width in _COLUMNS if width <= console.width)]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(
            name,
            justify="right" if name in _RIGHT else "left",
            no_wrap=name not in _FOLDED,
            min_width=_LEAST.get(name),
            max_width=_MOST.get(name),
            overflow="fold" if name in _FOLDED else "ellipsis",
        )
    missing: dict[str, list[str]] = {}
    for entry in entries:
        here = _here(entry, root, missing)
        cells = _cells(entry)
        table.add_row(*(here if name == "here" else cells[name] for name in columns))
    console.print(table)
    total = sum(map(len, missing.values()))
    console.print(f"\n{len(entries) - total} of {len(entries)} sets are there")
    for remedy, names in missing.items():
        console.print(Text(plain(", ".join(names)), style="bold"))
        console.print(Padding(Text(plain(remedy)), (0, 0, 0, 2)))


def _here(entry: Entry, root: str, missing: dict[str, list[str]]) -> Text:
    """How a set lies there, or "no" and why among those that are missing."""
    try:
        layout, _ = find(entry, root)
        return Text(layout, style="green")
    except Missing as error:
        remedy = entry.needs or entry.source or str(error)
        missing.setdefault(remedy, []).append(entry.name)
        return Text("no", style="dim")
    except (OSError, ValueError) as error:  # a server that does not answer
        missing.setdefault(f"cannot be looked for: {error}", []).append(entry.name)
        return Text("?", style="red")


def _cells(entry: Entry) -> dict[str, Text]:
    """What is known of a set."""
    said = {
        "set": entry.name,
        "task": ", ".join(entry.tasks) or "what it has",
        "metric": entry.metric.partition("/")[2],
        "pictures": count(entry.samples) if entry.samples else "",
        "chance": "" if entry.chance is None else percent(entry.chance),
        "split": entry.split,
        "classes": entry.classes or entry.default_classes,
        "templates": entry.templates or entry.default_templates,
        "licence": entry.licence,
    }
    return {name: Text(plain(value)) for name, value in said.items()}
