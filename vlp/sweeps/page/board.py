"""The rows of a sweep, arranged to be drawn."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vlp.evals.results import LABELS, NO_SHARES
from vlp.evals.writing import Number, percent
from vlp.sweeps.names import models_of, short_names
from vlp.sweeps.protocol import told_apart
from vlp.sweeps.table import current, main_metric, place_of

Row = Mapping[str, Any]
Place = tuple[str, str]
"""A set and a task on it."""
_NUMBERS = ("value", "low", "high", "template_low", "template_high", "chance", "if_ties_hit")
DRAWN = 8  # models that lines and colours can tell apart


@dataclass(frozen=True)
class Score:
    """The main metric of a row; all None but `failed` where it has none.

    Attributes:
        metric: its name.
        value, low, high, chance, if_ties_hit: see `vlp.evals.measures.Measure`.
        template_low, template_high: the interval over templates.
        failed: why there is none.
    """

    metric: str
    value: Number | None
    low: Number | None
    high: Number | None
    template_low: Number | None
    template_high: Number | None
    chance: Number | None
    if_ties_hit: Number | None
    failed: str

    @classmethod
    def of(cls, row: Row) -> "Score":
        """The main metric of a row."""
        metric = main_metric(row)
        found = row.get("metrics", {}).get(metric, {})
        numbers = {name: found.get(name) for name in _NUMBERS}
        failed = row.get("failed", "") or ("" if metric else "the task gave no metric")
        return cls(metric, **numbers, failed=failed)

    def written(self, value: Number | None) -> str:
        """A value of this metric for people; - for none."""
        return write_value(self.metric, value)

    @property
    def said(self) -> str:
        """All of it in a sentence."""
        if self.value is None:
            return f"failed: {self.failed}" if self.failed else f"{label(self.metric)}: not defined"
        parts = [f"{label(self.metric)} {self.written(self.value)}"]
        if self.low is not None:
            parts.append(f"95 % between {self.written(self.low)} and {self.written(self.high)}")
        if self.template_low is not None:
            ends = [self.written(end) for end in (self.template_low, self.template_high)]
            parts.append(f"with other templates between {ends[0]} and {ends[1]}")
        if self.chance is not None:
            parts.append(f"by chance {self.written(self.chance)}")
        if self.if_ties_hit is not None and self.if_ties_hit != self.value:
            parts.append(f"with every tie won {self.written(self.if_ties_hit)}")
        return "; ".join(parts)


def section_name(task: str, group: str) -> str:
    """How a group of sets is called.

    Examples:
      >>> section_name("classification", "VTAB"), section_name("retrieval", "retrieval")
      ('VTAB, classification', 'retrieval')
    """
    return "not opened" if task == "-" else ", ".join(dict.fromkeys(filter(None, (group, task))))


def label(metric: str) -> str:
    """A metric's name for people.

    Examples:
      >>> label("text_to_image/R@5"), label("top1")
      ('text → image R@5', 'top-1')
    """
    return " ".join(LABELS.get(part, part) for part in metric.split("/"))


def write_value(metric: str, value: Number | None) -> str:
    """A value of a metric for people; - for none."""
    if value is None:
        return "-"
    return f"{value:.2f}" if metric.rpartition("/")[2] in NO_SHARES else percent(value)


class Board:
    """The rows of a sweep by model and place.

    Args:
        rows: of the log; of those that say the same with other settings the newest is drawn.

    Attributes:
        rows: that are drawn.
        hidden: how many are not.
        steps: of each model, ascending.
        short: names for where there is little room.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        counting = current(rows)
        self._at = newest = {place_of(row): row for row in counting}
        self.rows = sorted(newest.values(), key=lambda row: row.get("time", ""))
        self.hidden = len(counting) - len(newest)
        self.steps = models_of(self.rows)
        self.short = short_names(self.steps)

    @property
    def models(self) -> list[str]:
        """All models."""
        return list(self.steps)

    @cached_property
    def places(self) -> list[Place]:
        """Sets and tasks, by task and group, else in the order in which they came."""
        found: dict[Place, Row] = {}
        for row in self.rows:
            found.setdefault((row["set"], row["task"]), row)
        order = {key: i for i, key in enumerate(dict.fromkeys(map(_section, found.values())))}
        return sorted(found, key=lambda place: order[_section(found[place])])

    def sections(self) -> dict[tuple[str, str], list[Place]]:
        """The places by task and group."""
        found: dict[tuple[str, str], list[Place]] = {}
        for place in self.places:
            row = next(r for r in self.rows if (r["set"], r["task"]) == place)
            found.setdefault(_section(row), []).append(place)
        return found

    def row(self, model: str, place: Place, *, step: int | None = None) -> Row | None:
        """The row of a model's step, of its last one that has such a row unless given."""
        steps = self.steps[model][::-1] if step is None else [step]
        return next(
            (self._at[model, s, *place] for s in steps if (model, s, *place) in self._at), None
        )

    def score(self, model: str, place: Place, *, step: int | None = None) -> Score | None:
        """The score of `row`."""
        found = self.row(model, place, step=step)
        return None if found is None else Score.of(found)

    def best(self, place: Place) -> str | None:
        """The model of the highest score; None where none has one, or they do not compare."""
        rows = [row for m in self.models if (row := self.row(m, place))]
        if told_apart(rows):
            return None
        values = {
            m: s.value for m in self.models if (s := self.score(m, place)) and s.value is not None
        }
        return max(values, key=lambda m: values[m]) if values else None

    def way(self, model: str, place: Place) -> Number | None:
        """How far a model is on the way from chance to the best one, or to 1 where it is alone;
        None without a score, 0 where its interval reaches down to chance."""
        score, best = self.score(model, place), self.best(place)
        if score is None or score.value is None or best is None:
            return None
        chance = score.chance or 0.0
        if score.value <= chance or (score.low is not None and score.low <= chance):
            return 0.0
        top = self.score(best, place) if len(self.models) > 1 else None
        limit = top.value if top is not None and top.value is not None else max(1.0, score.value)
        return min(1.0, (score.value - chance) / max(limit - chance, 1e-12))

    def mean(self, model: str, places: Sequence[Place]) -> Number | None:
        """The mean score over places; None unless the model has all of them."""
        scores = [self.score(model, place) for place in places]
        values = [s.value for s in scores if s is not None and s.value is not None]
        return sum(values) / len(values) if values and len(values) == len(places) else None


def _section(row: Row) -> tuple[str, str]:
    return ("-" if row["task"] == "-" else row["task"], row.get("group") or "")
