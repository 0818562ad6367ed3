"""A model in training, judged on a set of a suite as a sweep judges its checkpoints."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from vlp.evals.embed import Encoder, Progress
from vlp.evals.features import lacks
from vlp.evals.results import PARTS, make_result
from vlp.sweeps.embedding import Opened, embed_pictures
from vlp.sweeps.entry import Entry
from vlp.sweeps.models import ModelRef
from vlp.sweeps.places import open_entry
from vlp.sweeps.plan import Plan
from vlp.sweeps.scores import scores_of
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.suites import read_suite
from vlp.sweeps.tasks.table import TASKS, check_set, feature_of, learns, tasks_of
from vlp.sweeps.units import Unit, embedded_parts
from vlp.sweeps.vectors import VectorStore
from vlp.sweeps.view import SetView
from vlp.version import versions


@dataclasses.dataclass(frozen=True)
class LiveRun:
    """What tasks ask of a `Run`, of weights that train on.

    Attributes:
        host: prepares pictures and texts: `preprocess`, `tokenizer`, `tokenize`, `spectrogram`.
        model: with its weights.
        card: see `vlp.interop.card`.
        step: updates that the weights have seen.
        weights: "params" or "ema".
    """

    host: Any
    model: Any
    card: Mapping[str, Any]
    step: int
    weights: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host, name)


@dataclasses.dataclass(frozen=True, eq=False)
class Live(Opened):
    """A model of a sweep whose weights train on."""

    @cached_property
    def fingerprint(self) -> str:
        """Of the step: nothing is kept beyond it."""
        return f"step {self.run.step}"

    @classmethod
    def now(cls, run: LiveRun, encoder: Encoder) -> "Live":
        """The model of a run at a step."""
        return cls(ModelRef("the model in training", "", run.step), run, encoder)


class LiveSet:
    """A set of a suite, opened once for a whole training.

    Args:
        suite: its name, or a TOML file.
        entry: the name of the set in it.
        data: where sets lie.
        task: one of the set's tasks; "" for all of them.
        limit: pictures, drawn by the seed; 0 for all.
        seed: of that, of tasks that draw and of intervals.
        draws: of the bootstrap; 0 for no intervals.
        pictures: how they are decoded, "plain" (as the benchmarks' programs) or "upright".

    Raises:
        ValueError: there is no such entry or task, the set cannot be opened, or a task cannot be
            asked of it.
    """

    def __init__(
        self,
        suite: str,
        *,
        entry: str,
        data: str = "",
        task: str = "",
        limit: int = 0,
        seed: int = 0,
        draws: int = 1000,
        pictures: str = "plain",
    ) -> None:
        self._entry = _named(suite, entry)
        if task:
            self._entry = dataclasses.replace(self._entry, tasks=(task,))
        self._plan = Plan(
            [ModelRef("", "")],
            [self._entry],
            out=Path(),  # nothing is written by it
            root=data,
            rule=pictures,
            limit=limit,
            seed=seed,
            draws=draws,
        )
        self.found: EvalSet = open_entry(self._entry, self._plan)
        self.tasks = self._entry.tasks or tasks_of(self.found)
        for each in self.tasks:
            check_set(each, self.found, rule=pictures)
        self._units = [Unit(self._entry, self.found, task) for task in self.tasks]

    def check(self, model: Any) -> None:
        """Refuses a model that cannot do what is asked.

        Raises:
            ValueError: it has no tower for pictures or texts, or lacks a feature.
        """
        if model.image is None:
            raise ValueError(f"{self._entry.name} is of pictures, the model has no image tower")
        for unit in self._units:
            if why := lacks(model, feature_of(unit.task, unit.settings)):
                raise ValueError(why)
            if not learns(unit.task) and model.text is None:
                raise ValueError(
                    f"the task {unit.task} compares with texts, the model has no text tower; take "
                    "probes, such as task knn"
                )

    def judged(
        self, model: Live, *, store: VectorStore, progress: Progress | None = None
    ) -> dict[str, Any]:
        """The result, see `make_result`, with `low` and `high` of each metric's interval.

        Every process must call this at the same time.

        Args:
            model: at a step.
            store: of what this step has embedded already.
            progress: called with the number of pictures that are embedded.

        Raises:
            ValueError: a task cannot be done.
        """
        plan, found = self._plan, self.found
        for part, features in embedded_parts(self._units):
            how: Any = dict(store=store, rule=plan.rule, features=features, progress=progress)
            embed_pictures([model], part, **how)
        scores: dict[str, dict[str, Any]] = {name: {} for name in PARTS}
        notes = [*found.notes]
        view = SetView(model, found, store, plan.rule, plan.seed)
        for unit in self._units:
            judged = TASKS[unit.task](view, **unit.settings)
            prefix = f"{unit.task}/" if len(self._units) > 1 else ""
            for name, values in scores_of(judged, draws=plan.draws, seed=plan.seed).items():
                for column in ("value", "chance", "low", "high"):
                    if (number := values.get(column)) is not None:
                        place = "metrics" if column == "value" else column
                        scores[place][prefix + name] = number
            scores["counts"] |= {prefix + name: n for name, n in judged.counts.items()}
            notes += [note for note in judged.notes if note not in notes]
        settings = {unit.task: unit.settings for unit in self._units}
        feature = feature_of(self._units[0].task, self._units[0].settings)
        return make_result(
            self.tasks[0] if len(self.tasks) == 1 else "suite",
            scores,
            data=self._entry.name,
            fingerprint=found.pictures.fingerprint,
            samples=len(found),
            rejected=len(found) - len(view.pictures(feature=feature).ids),
            step=model.run.step,
            dtype=model.dtype,
            versions=versions(),
            settings=settings | {"pictures": plan.rule, "limit": plan.limit, "seed": plan.seed},
            notes=notes,
        )


def _named(suite: str, name: str) -> Entry:
    entries = {entry.name: entry for entry in read_suite(suite)}
    if name not in entries:
        raise ValueError(f"entry must be one of {suite}'s, {', '.join(entries)}, got {name!r}")
    return entries[name]
