"""A sweep: every model on every set by every task, each once."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from vlp.parallel.together import failed_alike, on_first
from vlp.sweeps.bars import Bars
from vlp.sweeps.embedding import Opened, embed_pictures
from vlp.sweeps.log import Log
from vlp.sweeps.models import ModelRef
from vlp.sweeps.opening import AnyModel, opened
from vlp.sweeps.plan import Plan
from vlp.sweeps.precision import Stages
from vlp.sweeps.samples import SampleStore
from vlp.sweeps.scores import scores_of
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.stored import Stored, StoredView
from vlp.sweeps.table import place_of
from vlp.sweeps.tasks.table import TASKS
from vlp.sweeps.units import REFUSALS, Unit, by_set, embedded_parts, open_units
from vlp.sweeps.vectors import VectorStore
from vlp.sweeps.view import SetView
from vlp.version import versions

Missing = Mapping[ModelRef, Sequence[Unit]]


class Sweep:
    """Does what a log does not have yet. What fails is a row with its reason; the rest goes on.

    With several processes every one must do the same at the same time, with the same log.

    Args:
        plan: what is to be done.
        log: of the results' folder; only process 0 writes to it.
        bars: shows how far it is.

    Attributes:
        sets: those that could be opened, by name, once it is carried out.
        keys: of the rows that the plan asks for, likewise.
    """

    def __init__(self, plan: Plan, log: Log, *, bars: Bars) -> None:
        self.plan, self.log, self.bars = plan, log, bars
        self.store = VectorStore(plan.vectors or plan.out / "vectors")
        self.samples = SampleStore(plan.out / "samples")
        self.sets: dict[str, EvalSet] = {}
        self.keys: set[str] = set()

    def carry_out(self) -> None:
        """Judges every model on every set."""
        units = list(open_units(self.plan, self.bars.opening(self.plan.entries)))
        self.sets = {u.entry.name: u.found for u in units if u.found is not None}
        self.keys = {unit.key(self.plan, ref) for unit in units for ref in self.plan.models}
        on_first(lambda: self._affirm(units))
        missing = {
            ref: [u for u in units if not self.log.done(u.key(self.plan, ref))]
            for ref in self.plan.models
        }
        todo = [ref for ref in self.plan.models if missing[ref]]
        self.bars.start(
            rows=len(units) * len(missing),
            done=len(units) * len(missing) - sum(map(len, missing.values())),
        )
        left = deque(todo)
        while left:
            models = self._opened(left, missing)
            for own in by_set(units):
                wanted = [m for m in models if any(u in missing[m.ref] for u in own)]
                if wanted:
                    self._on_set(wanted, own, missing)

    def _affirm(self, units: Sequence[Unit]) -> None:
        """Writes rows that are there already once more where another protocol came since, or where
        the suite says another main metric or group: every reader of the log takes the last one."""
        rows = self.log.rows
        newest = {place_of(row): key for key, row in rows.items()}
        for unit in units:
            for key in (unit.key(self.plan, ref) for ref in self.plan.models):
                if self.log.done(key):
                    row = rows[key] | unit.about(self.plan)
                    if row != rows[key] or newest[place_of(row)] != key:
                        self.log.append(row)

    def _opened(self, refs: deque[ModelRef], missing: Missing) -> list[AnyModel]:
        """The next models that can be opened; of the others every row says why not."""

        def say(ref: ModelRef, error: Exception | None) -> None:
            if error is None:
                self.bars.say(f"loading {ref.title}")
            for unit in missing[ref] if error is not None else ():
                self._write(ref, unit, {"failed": str(error)})

        return list(opened(refs, at_once=self.plan.at_once, refused=REFUSALS, say=say))

    def _on_set(self, models: Sequence[AnyModel], units: Sequence[Unit], missing: Missing) -> None:
        """All tasks of one set, for models that are open."""
        started = time.monotonic()
        problems, decoded = self._embedded(models, units)
        embedding = (time.monotonic() - started) / len(models)
        for model in models:
            for unit in (u for u in units if u in missing[model.ref]):
                started = time.monotonic()
                problem = unit.problem or problems.get(model.ref, "")
                row = {"failed": problem} if problem else self._judged(model, unit)
                own = model if problem else model.at(unit.stages(self.plan))
                about = {
                    "dtype": own.dtype,
                    "weights": model.weights,
                    "seconds": {"embedding": embedding, "task": time.monotonic() - started},
                    "decoded": decoded.get(model.ref, []),
                }
                self._write(model.ref, unit, about | row)

    def _embedded(
        self, models: Sequence[AnyModel], units: Sequence[Unit]
    ) -> tuple[dict[ModelRef, str], dict[ModelRef, list[int]]]:
        """Embeds the pictures of a set, for the tasks that can be asked of it.

        Returns:
            By model, why that failed, and how many pictures each process decoded.
        """
        problems: dict[ModelRef, str] = {}
        decoded: dict[ModelRef, list[int]] = {}
        units = [unit for unit in units if not unit.problem]
        if not units:
            return problems, decoded
        found = units[0].found
        assert found is not None
        stored = [model for model in models if isinstance(model, Stored)]
        problems |= {model.ref: why for model in stored if (why := model.problem(found))}
        for stages in dict.fromkeys(unit.stages(self.plan) for unit in units):
            own = [unit for unit in units if unit.stages(self.plan) == stages]
            for alike in _alike([model for model in models if isinstance(model, Opened)]):
                try:
                    loaded = self._embedded_by(alike, own, stages)
                except REFUSALS as error:
                    problems |= {model.ref: str(error) for model in alike}
                    continue
                decoded |= {model.ref: _sums(decoded.get(model.ref), loaded) for model in alike}
        return problems, decoded

    def _embedded_by(
        self, models: Sequence[Opened], units: Sequence[Unit], stages: Stages
    ) -> list[int]:
        """Embeds the pictures of a set, and those to learn from; how many each process decoded."""
        found, loaded = units[0].found, list[int]()
        assert found is not None
        for part, features in embedded_parts(units):
            self.bars.say(f"{found.name}: pictures", pictures=len(part))
            own = embed_pictures(
                [model.at(stages) for model in models],
                part,
                store=self.store,
                rule=self.plan.rule,
                features=features,
                threads=self.plan.threads,
                progress=self.bars.pictures,
            )
            loaded = _sums(loaded, own) if part is found else loaded
        return loaded

    def _judged(self, model: AnyModel, unit: Unit) -> dict[str, Any]:
        """The scores of a task as JSON values, or why there are none."""
        assert unit.found is not None
        plan, found, key = self.plan, unit.found, unit.key(self.plan, model.ref)
        stages = unit.stages(plan)
        self.bars.say(f"{unit.entry.name}: {unit.task} by {model.ref.title}")
        if isinstance(model, Stored):
            view: Any = StoredView(model, found, plan.rule, plan.seed, stages)
        else:
            view = SetView(model.at(stages), found, self.store, plan.rule, plan.seed, stages)
        try:
            judged = TASKS[unit.task](view, **unit.settings)
        except REFUSALS as error:
            if not failed_alike(f"{key} failed"):  # the others wait for this process
                raise
            return {"failed": str(error) or type(error).__name__}
        on_first(lambda: self.samples.keep(key, judged, pictures=found.pictures))
        return {
            "metrics": scores_of(
                judged, draws=plan.draws, seed=plan.seed, template_draws=plan.template_draws
            ),
            "counts": dict(judged.counts),
            "notes": [*found.notes, *judged.notes],
        }

    def _write(self, ref: ModelRef, unit: Unit, row: Mapping[str, Any]) -> None:
        entry, plan = unit.entry, self.plan
        whole = {
            "key": unit.key(plan, ref),
            "model": ref.name,
            "source": ref.source,
            "step": ref.step,
            "samples_seen": ref.samples_seen,
            "set": entry.name,
            "task": unit.task or "-",
            **unit.about(plan),
            "settings": unit.settings
            | {"pictures": plan.rule, "limit": plan.limit, "precision": plan.precision},
            "fingerprint": unit.found.pictures.fingerprint if unit.found else "",
            "versions": versions(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **row,
        }
        on_first(lambda: self.log.append(whole))
        self.bars.row(whole)


def _sums(counts: list[int] | None, more: list[int]) -> list[int]:
    """Counts of each process together; nothing where there are none."""
    return [a + b for a, b in zip(counts, more, strict=True)] if counts and more else counts or more


def _alike(models: Sequence[Opened]) -> list[list[Opened]]:
    """The models by how they take pictures."""
    by: dict[str, list[Opened]] = {}
    for model in models:
        by.setdefault(model.shown, []).append(model)
    return list(by.values())
