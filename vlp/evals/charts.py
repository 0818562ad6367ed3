"""Line charts as inline SVG: text, colours and dark mode come from the page's style sheet."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vlp.evals.writing import Number, escape, short

WIDTH, HEIGHT = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 46, 14, 30
MAX_POINTS = 240  # more than the pixels of a curve can show


@dataclass(frozen=True)
class Line:
    """One curve; `style` is the CSS class that colours it, `marks` whether its points are seen."""

    name: str
    xs: Sequence[Number]
    ys: Sequence[Number]
    style: str = "c1"
    marks: bool = False


def line_chart(
    lines: Sequence[Line],
    *,
    label: str,
    write_y: Callable[[Number], str] = short,
    from_zero: bool = False,
    log_x: bool = False,
    unit: str = "steps",
) -> str:
    """An SVG element with axes, grid and the name of every curve at its end.

    Args:
      lines: At least one curve with at least one point, steps ascending, finite values.
      label: What a screen reader says the picture is.
      write_y: Writes the numbers of the vertical axis.
      from_zero: Begins the vertical axis at 0.
      log_x: Gives equal quotients on the horizontal axis equal room; its values are positive.
      unit: Of the horizontal axis.
    """
    lines = [thin(line) for line in lines]
    xs = [x for line in lines for x in line.xs]
    ys = [y for line in lines for y in line.ys]
    x_ticks = (log_ticks if log_x else ticks)(min(xs), max(xs), about=4)
    y_ticks = ticks(0.0 if from_zero else min(ys), max(ys), about=4)
    scale: Callable[[Number], float] = math.log if log_x else float
    x_low, x_high = scale(min(xs)), max(scale(max(xs)), scale(min(xs)) + 1e-9)
    y_low, y_high = min(y_ticks[0], *ys), max(y_ticks[-1], *ys)

    def place_x(x: Number) -> float:
        return LEFT + (scale(x) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def place_y(y: Number) -> float:
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    box = f"0 0 {WIDTH} {HEIGHT}"
    parts = [f'<svg class="chart" viewBox="{box}" role="img" aria-label="{escape(label)}">']
    for y in y_ticks:
        at = place_y(y)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, at + 4, write_y(y), anchor="end"))
    for x in x_ticks:
        if min(xs) <= x <= max(xs):
            parts.append(_text(place_x(x), HEIGHT - 10, short(x), anchor="middle"))
    parts.append(_text(WIDTH - 2, HEIGHT - 10, unit, anchor="end"))
    for line in lines:
        points = " ".join(
            f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in zip(line.xs, line.ys, strict=True)
        )
        if len(line.xs) == 1:
            left, top = points.split(",")
            parts.append(f'<circle class="dot {escape(line.style)}" cx="{left}" cy="{top}" r="3"/>')
        else:
            parts.append(f'<polyline class="line {escape(line.style)}" points="{points}"/>')
            if line.marks:
                parts += [
                    f'<circle class="dot {escape(line.style)}" cx="{at[0]}" cy="{at[1]}" r="2.5"/>'
                    for at in (point.split(",") for point in points.split())
                ]
    named = [line for line in lines if line.name]
    heights = spread([place_y(line.ys[-1]) + 4 for line in named], apart=14)
    for line, at in zip(named, heights, strict=True):
        style = f"name {line.style}"
        parts.append(_text(WIDTH - RIGHT + 7, at, line.name, anchor="start", style=style))
    return "".join([*parts, "</svg>"])


def ticks(low: Number, high: Number, *, about: int) -> list[Number]:
    """Round numbers (1, 2 or 5 times a power of ten) from at most `low` to at least `high`."""
    if not high > low:
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: Number, high: Number, *, about: int) -> list[Number]:
    """Round numbers between two positive ones: powers of ten, or 1, 2 and 5 times these where that
    gives no more than `about`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for multiples in ((1, 2, 5), (1, 3), (1,)):
        found: list[Number] = [m * 10.0**p for p in powers for m in multiples]
        found = [x for x in found if low <= x <= high]
        if len(found) <= about + 1:
            break
    return found if len(found) <= 2 * about else found[:: -(-len(found) // about)]


def thin(line: Line) -> Line:
    """The curve with at most `MAX_POINTS` points, each the mean of its neighbours."""
    n = len(line.xs)
    if n <= MAX_POINTS:
        return line
    edges = [round(i * n / MAX_POINTS) for i in range(MAX_POINTS + 1)]
    cuts = [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
    means = [[sum(v[cut]) / len(v[cut]) for cut in cuts] for v in (line.xs, line.ys)]
    return replace(line, xs=means[0], ys=means[1])


def smooth(ys: Sequence[Number], *, width: int) -> list[Number]:
    """Running mean over `width` values, fewer at the ends, of the same length."""
    half = width // 2
    windows = (ys[max(0, i - half) : i + half + 1] for i in range(len(ys)))
    return [sum(window) / len(window) for window in windows]


def spread(heights: Sequence[Number], *, apart: Number) -> list[Number]:
    """The heights, moved as little as it takes to lie `apart`, in the same order."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = list(heights)
    for lower, upper in zip(order, order[1:], strict=False):
        placed[upper] = max(placed[upper], placed[lower] + apart)
    # Pushed down only, the names could leave the picture: shift all up by what is too much.
    excess = max(0.0, max(placed, default=0.0) - (HEIGHT - BOTTOM + 4))
    return [at - excess for at in placed]


def _text(x: Number, y: Number, text: str, *, anchor: str, style: str = "tick") -> str:
    return (
        f'<text class="{escape(style)}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
