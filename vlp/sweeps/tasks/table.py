"""All tasks by name, and which of them a set can be asked."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from vlp.evals.features import EMBEDDING, check_feature
from vlp.sweeps.judged import Judged
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.tasks.captioning import captioning, check_captioning
from vlp.sweeps.tasks.choices import associations, candidates, pairs
from vlp.sweeps.tasks.classification import check_classification, classification
from vlp.sweeps.tasks.faces import faces
from vlp.sweeps.tasks.few_shot import few_shot
from vlp.sweeps.tasks.knn import knn
from vlp.sweeps.tasks.linear_probe import linear_probe
from vlp.sweeps.tasks.linear_probe_adamw import linear_probe_adamw
from vlp.sweeps.tasks.linear_probe_shots import linear_probe_shots
from vlp.sweeps.tasks.matching import matching
from vlp.sweeps.tasks.multilabel import multilabel
from vlp.sweeps.tasks.retrieval import TO_TEXT, check_retrieval, retrieval
from vlp.sweeps.tasks.segmentation import (
    check_segmentation,
    masks_of,
    segmentation,
    tokens_feature,
)

TASKS: dict[str, Callable[..., Judged]] = {
    "classification": classification,
    "multilabel": multilabel,
    "faces": faces,
    "retrieval": retrieval,
    "pairs": pairs,
    "candidates": candidates,
    "associations": associations,
    "matching": matching,
    "captioning": captioning,
    "segmentation": segmentation,
    "linear_probe": linear_probe,
    "linear_probe_adamw": linear_probe_adamw,
    "linear_probe_shots": linear_probe_shots,
    "few_shot": few_shot,
    "knn": knn,
}
# What stands for a task where one number must do.
MAIN = {
    "classification": "top1",
    "multilabel": "mAP",
    "retrieval": f"{TO_TEXT}/R@1",
    "pairs": "group_score",
    "candidates": "P@1",
    "associations": "10-12/jaccard",
    "matching": "all/accuracy",
    "captioning": "captions/CIDEr",
    "segmentation": "mIoU",
    "linear_probe": "top1",
    "linear_probe_adamw": "top1",
    "linear_probe_shots": "top1",
    "few_shot": "10-shot/top1",
    "knn": "20-nn/top1",
}
# Whose scores have an interval over templates.
REDRAWN = ("classification",)
# What settings may be, where that is known before the work.
CHECKS: dict[str, Callable[..., None]] = {
    "classification": check_classification,
    "retrieval": check_retrieval,
    "captioning": check_captioning,
    "segmentation": check_segmentation,
}
# What a task needs of a set, where that is known before the work.
NEEDS: dict[str, Callable[..., Any]] = {"segmentation": masks_of}
# Which feature a task reads by its other settings, where it has none of that name.
READS: dict[str, Callable[..., str]] = {"segmentation": tokens_feature}


def tasks_of(found: EvalSet) -> tuple[str, ...]:
    """What a set can be asked, where its entry does not say."""
    tasks = []
    if found.labels is not None:
        tasks.append("multilabel" if found.labels.ndim == 2 else "classification")
    if found.masks is not None:
        tasks.append("segmentation")
    if found.choices is not None:
        tasks.append("pairs")
    elif len(found.texts):
        tasks.append("retrieval")
    return tuple(tasks)


def feature_of(task: str, settings: Mapping[str, Any]) -> str:
    """Which feature of pictures a task reads."""
    if task in READS:
        return READS[task](**settings)
    parameter = inspect.signature(TASKS[task]).parameters.get("feature")
    return EMBEDDING if parameter is None else settings.get("feature", parameter.default)


def learns(task: str) -> bool:
    """Whether a task reads the training part of a set."""
    return "feature" in inspect.signature(TASKS[task]).parameters


def check_task(task: str, settings: Mapping[str, Any]) -> None:
    """Refuses a task that nobody knows, or a setting that it has not.

    Raises:
        ValueError: says which there are, or what a setting may be.
    """
    if task not in TASKS:
        raise ValueError(f"a task must be one of {', '.join(TASKS)}, got {task!r}")
    known = list(inspect.signature(TASKS[task]).parameters)[1:]
    unknown = sorted(settings.keys() - known)
    if unknown:
        has = ", ".join(known) or "no settings"
        raise ValueError(f"the task {task} has {has}, got {unknown[0]!r}; leave that out")
    if task in CHECKS:
        CHECKS[task](**settings)
    check_feature(feature_of(task, settings))


def check_set(task: str, found: EvalSet, *, rule: str) -> None:
    """Refuses a set that a task cannot be asked of.

    Args:
        task: the name of one that is known.
        found: the set.
        rule: how its pictures are decoded, "plain" or "upright".

    Raises:
        ValueError: says what it lacks.
    """
    if task in NEEDS:
        NEEDS[task](found, rule=rule)
