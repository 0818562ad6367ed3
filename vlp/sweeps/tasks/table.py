"""All tasks by name, and which of them a set can be asked."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from vlp.sweeps.judged import Judged
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.tasks.classification import classification
from vlp.sweeps.tasks.retrieval import TO_TEXT, retrieval

TASKS: dict[str, Callable[..., Judged]] = {
    "classification": classification,
    "retrieval": retrieval,
}
# What stands for a task where one number must do.
MAIN = {"classification": "top1", "retrieval": f"{TO_TEXT}/R@1"}


def tasks_of(found: EvalSet) -> tuple[str, ...]:
    """What a set can be asked, where its entry does not say."""
    labelled = ("classification",) if found.labels is not None else ()
    return (*labelled, *(("retrieval",) if len(found.texts) else ()))


def check_task(task: str, settings: Mapping[str, Any]) -> None:
    """Refuses a task that nobody knows, or a setting that it has not.

    Raises:
        ValueError: says which there are.
    """
    if task not in TASKS:
        raise ValueError(f"a task must be one of {', '.join(TASKS)}, got {task!r}")
    known = list(inspect.signature(TASKS[task]).parameters)[1:]
    unknown = sorted(settings.keys() - known)
    if unknown:
        has = ", ".join(known) or "no settings"
        raise ValueError(f"the task {task} has {has}, got {unknown[0]!r}; leave that out")
