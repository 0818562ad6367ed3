"""One HTML page about a walk through settings: the frontier as a picture and a table."""

from collections.abc import Callable, Sequence

from vlp.evals.charts import ticks
from vlp.evals.page import document
from vlp.evals.writing import Number, escape, short
from vlp.planning.frontier import RESULTS, Tried, best, cells

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 22, 46
STYLE = """
.lead { overflow-wrap: anywhere; } .plot { max-width: 860px; margin-top: 16px; overflow-x: auto; }
.plot svg { min-width: 540px; } .plot .dot { fill: var(--soft); opacity: .55; }
.plot .unfit { fill: none; stroke: var(--miss); stroke-width: 1.5; opacity: .8; }
.plot .best { fill: var(--accent); } .plot .front { fill: none; stroke: var(--accent);
  stroke-width: 1.5; } .plot .limit { stroke: var(--miss); stroke-dasharray: 4 4; }
.plot .name { fill: var(--accent); } .plot .over { fill: var(--miss); }
td.why { text-align: left; white-space: normal; min-width: 22ch; max-width: 44ch; }
.faint { color: var(--soft); }
tr.faint td, tr.faint th { color: var(--soft); }
tr.best td, tr.best th { font-weight: 600; color: var(--accent); }
"""


def frontier_page(tried: Sequence[Tried], *, topology: str, config: str) -> str:
    """A page on all points of a walk.

    Args:
        tried: at least one.
        topology: the machine's name.
        config: whose settings were walked, as it was asked for.
    """
    count = sum(each.fits for each in tried)
    lead = (
        f"{len(tried)} choices of {', '.join(tried[0].settings)} for the training step of "
        f"{config}; {count} fit."
    )
    drawn = _plot(tried)
    note = "Right: more memory; up: more pairs a second. Numbers are those of the table."
    picture = f'<p class="note">{note}</p><div class="card plot">{drawn}</div>' if drawn else ""
    return document(
        title=f"Settings on {topology}",
        style=STYLE,
        body=(
            f"<header><h1>Settings on {escape(topology)}</h1>"
            f'<p class="lead">{escape(lead)}</p></header>\n<main>'
            f"<section><h2>What nothing beats</h2>{picture}</section>"
            f"<section><h2>All of them</h2>{_table(tried)}</section></main>\n"
            "<footer><p>Nothing was run: memory is the compiler's count, times are estimates."
            "</p></footer>"
        ),
    )


def _plot(tried: Sequence[Tried]) -> str:
    """The points that have a time, as SVG; nothing where none has."""
    shown = [
        (place, each.plan.memory.total / 1e9, each.plan.pairs_per_second)
        for place, each in enumerate(tried)
        if each.plan and each.plan.estimate
    ]
    if not shown:
        return ""
    capacity = max(each.plan.memory.capacity for each in tried if each.plan) / 1e9
    x_ticks = ticks(0.0, max(capacity, *(x for _, x, _ in shown)), about=6)
    y_ticks = ticks(0.0, max(y for _, _, y in shown), about=5)

    def at(x: Number, y: Number) -> tuple[float, float]:
        return (
            LEFT + x / x_ticks[-1] * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / y_ticks[-1] * (HEIGHT - TOP - BOTTOM),
        )

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="pairs a second against memory a device">'
    ]
    for y in y_ticks:
        x, height = at(0, y)
        parts.append(f'<path class="grid" d="M{LEFT} {height:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(x - 8, height + 4, short(y), "end"))
    for x in x_ticks:
        parts.append(_text(at(x, 0)[0], HEIGHT - BOTTOM + 18, short(x), "middle"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 8, "GB a device", "end"))
    parts.append(_text(LEFT - 8, TOP - 8, "pairs/s", "end"))
    edge = at(capacity, 0)[0]
    parts.append(f'<path class="limit" d="M{edge:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
    parts.append(_text(edge - 6, TOP + 4, f"{capacity:.1f} GB", "end", "over"))
    return "".join([*parts, *_points(tried, shown, at), "</svg>"])


def _points(
    tried: Sequence[Tried],
    shown: Sequence[tuple[int, Number, Number]],
    at: Callable[[Number, Number], tuple[float, float]],
) -> list[str]:
    """Circles for all that is shown, and a line through the best of it."""
    frontier = best(tried)
    front = sorted((at(x, y) for place, x, y in shown if place in frontier))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in front)
    parts = [f'<polyline class="front" points="{line}"/>'] if len(front) > 1 else []
    for place, memory, pace in shown:
        (x, y), is_best = at(memory, pace), place in frontier
        style = "best" if is_best else "dot" if tried[place].fits else "unfit"
        said = ", ".join(f"{axis} {value}" for axis, value in tried[place].settings.items())
        parts.append(
            f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{5 if is_best else 4}">'
            f"<title>{escape(said)}: {memory:.2f} GB, {pace:,.0f} pairs/s</title></circle>"
        )
        if is_best:
            parts.append(_text(x - 8, y - 7, str(place + 1), "end", "name"))
    return parts


def _text(x: Number, y: Number, text: str, anchor: str, style: str = "tick") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def _table(tried: Sequence[Tried]) -> str:
    frontier = best(tried)
    heads = ("", *tried[0].settings, *RESULTS)
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    lines = []
    for place, each in enumerate(tried):
        style = "best" if place in frontier else "" if each.fits else "faint"
        *figures, why = cells(each)
        lines.append(
            f'<tr class="{style}"><th scope="row">{place + 1}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in figures)
            + f'<td class="why">{escape(why)}</td></tr>'
        )
    inside = f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table>{inside}</table></div>'
