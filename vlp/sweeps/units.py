"""What a sweep consists of: the sets with the tasks on them, each a row for every model."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from vlp.evals.features import OF_PATCHES
from vlp.parallel.together import everywhere
from vlp.sweeps.entry import Entry
from vlp.sweeps.models import ModelRef
from vlp.sweeps.places import open_entry
from vlp.sweeps.plan import Plan
from vlp.sweeps.precision import Stages, stages_of
from vlp.sweeps.protocol import protocol_of
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.tasks.table import MAIN, REDRAWN, check_set, feature_of, learns, tasks_of

REFUSALS = (ValueError, OSError, RuntimeError)


@dataclasses.dataclass(eq=False)
class Unit:
    """A set with a task on it.

    Attributes:
        entry: the line of the suite.
        found: the set; None where it could not be opened.
        task: the name of the task; "" where the set could not be opened.
        problem: why it could not, or why the task cannot be asked of it.
    """

    entry: Entry
    found: EvalSet | None
    task: str
    problem: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """Of the task, on this set."""
        return dict(self.entry.settings.get(self.task, {}))

    @property
    def main(self) -> str:
        """The metric that stands for the row: the entry's, where it is of this task."""
        task, _, metric = self.entry.metric.partition("/")
        return metric if task == self.task else MAIN.get(self.task, "")

    def stages(self, plan: Plan) -> Stages:
        """What the task computes in what."""
        return stages_of(plan.precision, self.task)

    def key(self, plan: Plan, ref: ModelRef) -> str:
        """What a row is of; another key means other scores."""
        parts = [ref.name, ref.step, ref.identity, self.entry.name, self.task, self.settings]
        parts += [plan.rule, plan.limit, plan.seed, plan.draws, plan.precision, self._protocol]
        parts += [plan.template_draws] if self.task in REDRAWN else []
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def about(self, plan: Plan) -> dict[str, Any]:
        """What rows say of the set beside what a key is made of, and by which protocol they are."""
        return {
            "split": self.entry.split,
            "group": self.entry.group,
            "main": self.main,
            "protocol": {"seed": plan.seed, **self._protocol},
        }

    @cached_property
    def _protocol(self) -> dict[str, str]:
        return {} if self.found is None else protocol_of(self.found)


def open_units(plan: Plan, entries: Iterable[Entry]) -> Iterator[Unit]:
    """The sets of some entries, opened, with the tasks on them; every process must call it."""
    for entry in entries:
        try:
            found = everywhere(lambda entry=entry: open_entry(entry, plan))  # type: ignore[misc]
        except REFUSALS as error:
            yield Unit(entry, None, "", str(error))
            continue
        for task in entry.tasks or tasks_of(found):
            yield Unit(entry, found, task, _problem(task, found, plan))


def _problem(task: str, found: EvalSet, plan: Plan) -> str:
    """Why a task cannot be asked of a set; "" where it can."""
    try:
        check_set(task, found, rule=plan.rule)
    except ValueError as error:
        return str(error)
    return ""


def by_set(units: Sequence[Unit]) -> list[list[Unit]]:
    """The units of each set together."""
    by: dict[str, list[Unit]] = {}
    for unit in units:
        by.setdefault(unit.entry.name, []).append(unit)
    return list(by.values())


def embedded_parts(units: Sequence[Unit]) -> list[tuple[EvalSet, list[str]]]:
    """What must be embedded for tasks on one set: the set, and where tasks learn its training part;
    each with the features that are read of pictures as the model takes them, or of whole ones."""
    found, learning = units[0].found, [unit for unit in units if learns(unit.task)]
    assert found is not None
    parts = [(found, features) for features in _features(units)]
    if found.train is not None and learning:
        parts += [(found.train, features) for features in _features(learning)]
    return parts


def _features(units: Sequence[Unit]) -> list[list[str]]:
    """The features that are read, those of patches by themselves."""
    names = sorted({feature_of(unit.task, unit.settings) for unit in units})
    kinds = [[name for name in names if (name in OF_PATCHES) == of] for of in (False, True)]
    return [kind for kind in kinds if kind]
