"""Curves over steps and over samples seen, with power laws, and lines from group to group."""

from collections.abc import Sequence

from vlp.evals.charts import Line, line_chart
from vlp.evals.results import NO_SHARES
from vlp.evals.writing import Number, escape
from vlp.sweeps.page.board import DRAWN, Board, Place, Score, label, section_name
from vlp.sweeps.scaling import PowerLaw, power_law

_FIT_POINTS = 25
_AXIS = 140  # pixels from one upright axis to the next


def trends(board: Board) -> str:
    """A section with the scores of models that have several steps; "" where none has."""
    models = [model for model in board.models if len(board.steps[model]) > 1]
    drawn, left = models[:DRAWN], len(models[DRAWN:])
    cards = "".join(_cards(board, place, drawn) for place in board.places)
    if not cards:
        return ""
    note = (
        "Samples seen are steps times the global batch, on a logarithmic axis; the dashed line is "
        "a power law of the error, 1 - score, by least squares on logarithms, from five points on."
    )
    note += f" {left} more models are not drawn." if left else ""
    return (
        f'<section><h2>How they learned</h2><p class="note">{note}</p>{legend(board, drawn)}'
        f"{cards}</section>"
    )


def legend(board: Board, models: Sequence[str]) -> str:
    """Which colour is whose."""
    items = "".join(
        f'<span><i style="--c:var(--m{i})"></i>{escape(board.short[model])}</span>'
        for i, model in enumerate(models, start=1)
    )
    return f'<p class="key">{items}</p>'


def parallel_lines(board: Board) -> str:
    """A section with a line a model through the groups, or through the sets where there are fewer
    than three groups; "" where there is nothing to tell apart."""
    groups = {
        section_name(task, group): places
        for (task, group), places in board.sections().items()
        if task != "-"
    }
    axes = groups
    if len(groups) < 3:
        places = [place for own in groups.values() for place in own]
        tasks = {task for _, task in places}
        axes = {
            name if len(tasks) < 2 else f"{name}, {task}": [(name, task)] for name, task in places
        }
    models = board.models[:DRAWN]
    if len(axes) < 2 or len(models) < 2:
        return ""
    lines = []
    for number, model in enumerate(models, start=1):
        ways = {i: _mean_way(board, model, places) for i, places in enumerate(axes.values())}
        there = {i: way for i, way in ways.items() if way is not None}
        if there:
            style = f"m{number}"
            lines.append(Line("", list(there), list(there.values()), style, marks=True))
    if not lines:
        return ""
    left = len(board.models) - len(models)
    note = (
        "How far each model is on the way from chance, at the bottom, to the best of the sweep, at "
        "the top" + ("; mean over the sets of a group." if axes is groups else ".")
    )
    note += f" {left} more models are not drawn." if left else ""
    return (
        f'<section><h2>Side by side</h2><p class="note">{note}</p>{legend(board, models)}'
        f'<div class="wide"><div style="min-width:{0.8 * _AXIS * len(axes):.0f}px;'
        f'max-width:{1.2 * _AXIS * len(axes):.0f}px">'
        f"{_parallel(list(axes), lines)}</div></div></section>"
    )


def _cards(board: Board, place: Place, models: Sequence[str]) -> str:
    """The charts of one set."""
    by_step, by_samples, laws = [], [], []
    metric = ""
    for number, model in enumerate(models, start=1):
        points = _points(board, model, place)
        if len(points) < 2:
            continue
        metric = points[0][2].metric
        values = [score.value or 0.0 for *_, score in points]
        by_step.append(Line("", [p[0] for p in points], values, f"m{number}", marks=True))
        seen = [p[1] for p in points]
        if all(seen):
            samples = [n or 0 for n in seen]
            by_samples.append(Line("", samples, values, f"m{number}", marks=True))
            law = _law(metric, samples, values)
            if law is not None:
                by_samples.append(_fit(law, samples, f"m{number} fit"))
                laws.append(_formula(board.short[model], law))
    if not by_step:
        return ""
    said = f"{place[0]}, {label(metric)}"

    def written(value: Number) -> str:
        return f"{value:.3g}" if _is_no_share(metric) else f"{100 * value:.3g} %"

    charts = line_chart(by_step, label=f"{said} by step", write_y=written, from_zero=True)
    if by_samples:
        charts += line_chart(
            by_samples,
            label=f"{said} by samples seen",
            write_y=written,
            from_zero=True,
            log_x=True,
            unit="samples",
        )
    said = f"<div>{''.join(laws)}</div>" if laws else ""
    return (
        f'<div class="card learned"><h3>{escape(place[0])} <span class="by">'
        f"{escape(label(metric))}</span></h3>{charts}{said}</div>"
    )


def _points(board: Board, model: str, place: Place) -> list[tuple[int, int | None, Score]]:
    """Step, samples seen and score, where there is one."""
    found = []
    for step in board.steps[model]:
        row = None if step is None else board.row(model, place, step=step)
        if row is not None and step is not None:
            score = Score.of(row)
            if score.value is not None:
                found.append((step, row.get("samples_seen"), score))
    return found


def _law(metric: str, samples: Sequence[int], values: Sequence[Number]) -> PowerLaw | None:
    if _is_no_share(metric):
        return None
    return power_law(samples, [1 - value for value in values])


def _formula(name: str, law: PowerLaw) -> str:
    exponent = f"{law.exponent:.2g}".replace("-", "−")
    return (
        f'<p class="law">{escape(name)}: error ≈ {law.factor:.2g} · n<sup>{exponent}</sup> '
        f"(R² {law.r2:.2f})</p>"
    )


def _fit(law: PowerLaw, samples: Sequence[int], style: str) -> Line:
    ratio = (samples[-1] / samples[0]) ** (1 / (_FIT_POINTS - 1))
    xs = [samples[0] * ratio**i for i in range(_FIT_POINTS)]
    return Line("", xs, [max(0.0, 1 - law(x)) for x in xs], style)


def _is_no_share(metric: str) -> bool:
    return metric.rpartition("/")[2] in NO_SHARES


def _mean_way(board: Board, model: str, places: Sequence[Place]) -> float | None:
    ways = [board.way(model, place) for place in places]
    there = [way for way in ways if way is not None]
    return sum(there) / len(there) if len(there) == len(ways) else None


def _parallel(names: Sequence[str], lines: Sequence[Line]) -> str:
    """An SVG of upright axes from 0 at the bottom to 1 at the top, and a line through them each."""
    width, height, side, top, foot = _AXIS * len(names), 260, 70, 16, 46
    apart = (width - 2 * side) / (len(names) - 1)

    def place(x: Number, y: Number) -> tuple[float, float]:
        return side + apart * x, top + (1 - y) * (height - top - foot)

    said = "each model's way from chance to the best, by " + ", ".join(names)
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said)}">'
    ]
    for i, name in enumerate(names):
        x, bottom = place(i, 0.0)
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{bottom:.1f}"/>')
        for number, words in enumerate(_wrapped(name)):
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{bottom + 18 + 14 * number:.1f}" '
                f'text-anchor="middle">{escape(words)}</text>'
            )
    for line in lines:
        points = [place(x, y) for x, y in zip(line.xs, line.ys, strict=True)]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line {line.style}" points="{drawn}"/>')
        parts += [
            f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
            for x, y in points
        ]
    return "".join([*parts, "</svg>"])


def _wrapped(name: str) -> list[str]:
    """A name on at most two lines that fit below an axis."""
    words, lines = name.split(" "), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > 16:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    lines = [line if len(line) <= 18 else f"{line[:17]}…" for line in lines]
    return lines if len(lines) <= 2 else [lines[0], f"{lines[1].rstrip('…')}…"]
