"""All tasks by name, and which of them a set can be asked."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from vlp.evals.features import EMBEDDING, check_feature
from vlp.sweeps.judged import Judged
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.tasks.classification import classification
from vlp.sweeps.tasks.few_shot import few_shot
from vlp.sweeps.tasks.knn import knn
from vlp.sweeps.tasks.linear_probe import linear_probe
from vlp.sweeps.tasks.linear_probe_adamw import linear_probe_adamw
from vlp.sweeps.tasks.linear_probe_shots import linear_probe_shots
from vlp.sweeps.tasks.retrieval import TO_TEXT, retrieval

TASKS: dict[str, Callable[..., Judged]] = {
    "classification": classification,
    "retrieval": retrieval,
    "linear_probe": linear_probe,
    "linear_probe_adamw": linear_probe_adamw,
    "linear_probe_shots": linear_probe_shots,
    "few_shot": few_shot,
    "knn": knn,
}
# What stands for a task where one number must do.
MAIN = {
    "classification": "top1",
    "retrieval": f"{TO_TEXT}/R@1",
    "linear_probe": "top1",
    "linear_probe_adamw": "top1",
    "linear_probe_shots": "top1",
    "few_shot": "10-shot/top1",
    "knn": "20-nn/top1",
}


def tasks_of(found: EvalSet) -> tuple[str, ...]:
    """What a set can be asked, where its entry does not say."""
    labelled = ("classification",) if found.labels is not None else ()
    return (*labelled, *(("retrieval",) if len(found.texts) else ()))


def feature_of(task: str, settings: Mapping[str, Any]) -> str:
    """Which feature of pictures a task reads."""
    parameter = inspect.signature(TASKS[task]).parameters.get("feature")
    return EMBEDDING if parameter is None else settings.get("feature", parameter.default)


def learns(task: str) -> bool:
    """Whether a task reads the training part of a set."""
    return "feature" in inspect.signature(TASKS[task]).parameters


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
    check_feature(feature_of(task, settings))
