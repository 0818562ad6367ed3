"""What one model has more than others, as tables for a page and for the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlp.evals.writing import Number, count, escape, plain
from vlp.sweeps.compare import Comparison, Difference
from vlp.sweeps.page.board import label, write_value

_OPEN = 2  # so many pairs are shown without asking
_NOTE = (
    "The same samples are drawn for both (paired bootstrap). A difference in bold has an interval "
    "without 0, others are open; p is not corrected for how much is compared."
)


def difference_section(found: Comparison, *, title: str = "Compared") -> str:
    """A section with a table for each pair of models; "" where nothing was compared."""
    pairs: dict[tuple[str, str], list[Difference]] = {}
    for each in found.differences:
        pairs.setdefault((each.first, each.second), []).append(each)
    tables = "".join(
        _table(*pair, own, shown=number < _OPEN) for number, (pair, own) in enumerate(pairs.items())
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    if not tables and not notes:
        return ""
    said = f'<ul class="said">{notes}</ul>' if notes else ""
    return f'<section><h2>{title}</h2><p class="note">{_NOTE}</p>{tables}{said}</section>'


def print_comparison(found: Comparison, *, console: Console | None = None) -> None:
    """Prints a table for each pair of models."""
    console = console or Console()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("set", "metric"):
        table.add_column(name, overflow="fold")
    for name in ("first", "second", "difference", "95 %", "p", "wins", "losses", "samples"):
        table.add_column(name, justify="right")
    last = ("", "")
    for each in found.differences:
        if (each.first, each.second) != last:
            last = (each.first, each.second)
            table.add_section()
            table.add_row(Text(plain(f"{each.first} - {each.second}"), style="bold"))
        cells = _cells(each)
        table.add_row(
            Text(plain(each.set)), label(each.metric), *cells, style="" if each.sure else "dim"
        )
    console.print(table)
    for note in found.notes:
        console.print(Text(plain(note), style="yellow"))


def _table(first: str, second: str, differences: Sequence[Difference], *, shown: bool) -> str:
    better = sum(each.sure and each.difference > 0 for each in differences)
    worse = sum(each.sure and each.difference < 0 for each in differences)
    said = f"ahead in {better}, behind in {worse}, open in {len(differences) - better - worse}"
    rows = "".join(
        f'<tr><th scope="row">{escape(each.set)}'
        f'<span class="by">{escape(label(each.metric))}</span></th>'
        + "".join(
            f'<td class="{"sure" if each.sure else "unsure"}">{cell}</td>' for cell in _cells(each)
        )
        + "</tr>"
        for each in differences
    )
    heads = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("first", "second", "difference", "95 %", "p", "wins", "losses", "samples")
    )
    return (
        f'<details class="set"{" open" if shown else ""}><summary>{escape(first)} and '
        f'{escape(second)}<span class="by">{said}</span></summary><div class="wide">'
        f'<table class="pairs"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _cells(each: Difference) -> list[str]:
    values = [write_value(each.metric, value) for value in each.values]
    ends = [signed(each.metric, end) for end in (each.low, each.high)]
    return [
        *values,
        signed(each.metric, each.difference),
        f"{ends[0]} to {ends[1]}",
        f"{each.p:.3f}",
        count(each.wins),
        count(each.losses),
        count(each.samples),
    ]


def signed(metric: str, value: Number) -> str:
    """A difference with its sign, in points where the metric is a share.

    Examples:
      >>> signed("top1", 0.0123), signed("top1", -0.5), signed("top1", 0.0)
      ('+1.2', '−50.0', '0.0')
    """
    written = write_value(metric, abs(value)).removesuffix(" %")
    if float(written) == 0:
        return written
    return ("+" if value > 0 else "−") + written
