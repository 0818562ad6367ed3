"""Curves of a run: which lines of metrics.jsonl are drawn, and how."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vlp.evals.charts import Line, line_chart, smooth
from vlp.evals.results import LABELS
from vlp.evals.writing import Number

LOSS = "train/loss"
_SCORE = re.compile(
    r"(?P<what>.+)/(?P<name>R@\d+|top\d+|mean_per_class_recall|accuracy|balanced|auc)$"
)


def panels(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Charts of the loss and of every family of scores (the R@k of one direction, say) by step.

    Args:
      rows: Lines of metrics.jsonl: `step` and values by name. Where a step occurs twice, the later
        row counts; what is no finite number is left out.

    Returns:
      `(name, SVG)` of each chart, the loss first.
    """
    series = _series(rows)
    charts = []
    if LOSS in series:
        steps, losses = list(series[LOSS]), list(series[LOSS].values())
        calm = smooth(losses, width=max(1, len(losses) // 40))
        lines = [Line("", steps, losses, "faint"), Line("loss", steps, calm)]
        charts.append(("training loss", line_chart(lines, label="training loss by step")))
    families: dict[str, list[Line]] = {}
    for name, points in series.items():
        if match := _SCORE.match(name):
            lines = families.setdefault(match["what"], [])
            label = LABELS.get(match["name"], match["name"])
            style = f"c{len(lines) % 3 + 1}"
            lines.append(Line(label, list(points), list(points.values()), style))
    for what, lines in families.items():
        name = " · ".join(LABELS.get(word, word) for word in what.split("/") if word != "eval")
        label = f"{name} by step"
        charts.append((name, line_chart(lines, label=label, write_y=_percent, from_zero=True)))
    return charts


def _series(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[Number, Number]]:
    """Values by step for every metric, steps ascending."""
    series: dict[str, dict[Number, Number]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                series.setdefault(name, {})[row["step"]] = value
    return {name: dict(sorted(points.items())) for name, points in series.items()}


def _percent(share: Number) -> str:
    return f"{100 * share:.3g} %"
