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
    tables = "".join(
        _table(*pair, own, shown=number < _OPEN)
        for number, (pair, own) in enumerate(_pairs(found).items())
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    if not tables and not notes:
        return ""
    said = f'<ul class="said">{notes}</ul>' if notes else ""
    return f'<section><h2>{title}</h2><p class="note">{_NOTE}</p>{tables}{said}</section>'


def print_comparison(found: Comparison, *, console: Console | None = None) -> None:
    """Prints a table for each pair of models, in percent and points."""
    console = console or Console()
    for (first, second), differences in _pairs(found).items():
        title = Text(f"{plain(first)} and {plain(second)}", style="bold")
        console.print(title)
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.add_column("", overflow="fold", min_width=14)
        for name in ("first", "second", "apart", "95 %", "p", "won:lost"):
            table.add_column(name, justify="right", no_wrap=True)
        for each in differences:
            table.add_row(
                Text(plain(f"{each.set} {label(each.metric)}")),
                *(write_value(each.metric, value).removesuffix(" %") for value in each.values),
                signed(each.metric, each.difference),
                f"{signed(each.metric, each.low)} to {signed(each.metric, each.high)}",
                f"{each.p:.3f}",
                f"{count(each.wins)}:{count(each.losses)}",
                style="" if each.sure else "dim",
            )
        console.print(table)
        console.print()
    for note in found.notes:
        console.print(Text(plain(note), style="yellow"))


def _pairs(found: Comparison) -> dict[tuple[str, str], list[Difference]]:
    pairs: dict[tuple[str, str], list[Difference]] = {}
    for each in found.differences:
        pairs.setdefault((each.first, each.second), []).append(each)
    return pairs


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
