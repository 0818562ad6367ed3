"""Zero-shot classification: the class whose prompts are nearest."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from vlp.evals.measures import OCCURRING, Measure
from vlp.evals.ranks import class_ranks
from vlp.settings import check_choice
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.tasks.class_scores import LOST, TIES, TOPS, class_scores, tops
from vlp.sweeps.tasks.groups import by_group, group_values
from vlp.sweeps.texts import check_templates, filled

ALL = "all"


def check_classification(*, by: str = "top1", among: str = ALL, ties: str = LOST, **_: Any) -> None:
    """Raises ValueError for settings that are none."""
    check_choice("by", by, [f"top{top}" for top in TOPS])
    check_choice("among", among, (ALL, OCCURRING))
    check_choice("ties", ties, TIES)


def classification(
    view: View,
    *,
    group: str = "",
    by: str = "top1",
    without: Sequence[str] = (),
    among: str = ALL,
    ties: str = LOST,
) -> Judged:
    """Top-1, top-5, the mean over classes and macro F1.

    The classifier is the mean of the unit-norm embeddings of a class's prompts, made unit-norm
    again. Every class that is named competes, those that never occur too. Top-5 exists from five
    classes on. Where pictures have several labels (an array `[n, k]`) any of them is right, as in
    ImageNet-ReaL, and there are no scores by class. Pictures without a label are left out.

    Args:
        view: of a set with labels and the names of classes.
        group: a field of the set, for each of whose values there is `VALUE/top1`, and of the worst
            of them `worst_FIELD/top1`.
        by: what groups are compared by, "top1" or "top5".
        without: values of `group` that are never the worst.
        among: "all" classes compete, or only those "occurring" among the labels, as in ImageNet-A
            and -R where the names are all of ImageNet's.
        ties: "lost" (won, they give what `Measure.if_hit` says), or they go to the class that
            stands "first", as `argmax` has it.

    Raises:
        ValueError: the set has no labels, or no names to make prompts of, or not the field.

    References:
        Radford et al., 2021, section 3.1; clip_benchmark.metrics.zeroshot_classification.
    """
    check_classification(by=by, among=among, ties=ties)
    competing = _competing(view.set, among)
    if competing is not None:
        view = view.on(_among(view.set, competing))
    found, rows = view.set, view.pictures()
    labels = _labels(found)[rows.ids]
    labelled = np.flatnonzero(labels.any(axis=1) if labels.ndim == 2 else labels >= 0)
    if not len(labelled):
        raise ValueError(f"{found.name} must hold a picture with a label that can be read")
    zclass = class_vectors(view)
    check_labels(found, classes=len(zclass))
    ids, own = rows.ids[labelled], labels[labelled]
    named = class_ranks(np.asarray(rows.vectors[labelled]), zclass, own)
    measures: dict[str, Measure] = class_scores(named, own, num_classes=len(zclass), ties=ties)
    if group:
        right, best = tops(named, ties)[by]
        chance = measures[by].chance if by in measures else None
        named_by: Any = dict(field=group, if_hit=best, without=without, chance=chance)
        scores = by_group(group_values(found, group), ids, right, **named_by)
        measures |= {f"{name}/{by}": measure for name, measure in scores.items()}
    occurring = own.any(axis=0).sum() if own.ndim == 2 else len(np.unique(own))
    counts = {"pictures": len(ids), "classes": len(zclass), "occurring": int(occurring)}
    without_label = len(rows.ids) - len(ids)
    said = [f"{without_label:,} pictures have no label"] if without_label else []
    if competing is not None:
        said.append(f"only the {len(zclass):,} classes that occur compete")
    notes = [*rows.notes, *said, *names_twice(found.class_names)]
    return Judged(
        measures, len(ids), ids, {"label": own, "predicted": named.predicted}, counts, notes
    )


def check_labels(found: EvalSet, *, classes: int) -> None:
    """Raises ValueError where a label is none of the classes."""
    labels = _labels(found)
    most = labels.shape[1] if labels.ndim == 2 else int(labels.max(initial=-1)) + 1
    if most > classes or labels.ndim == 2 and most < classes:
        raise ValueError(
            f"{found.name} must name all of its classes, it has labels of {most:,} and names of "
            f"{classes:,}; give others as `classes` in the suite"
        )


def _labels(found: EvalSet) -> np.ndarray:
    if found.labels is None:
        raise ValueError(f"classification needs labels, {found.name} has none")
    return found.labels


def _competing(found: EvalSet, among: str) -> list[int] | None:
    """The classes that compete; None for all."""
    if among == ALL:
        return None
    labels = _labels(found)
    occurring = np.flatnonzero(labels.any(axis=0)) if labels.ndim == 2 else np.unique(labels)
    return occurring[occurring >= 0].tolist()


def _among(found: EvalSet, classes: list[int]) -> EvalSet:
    """The set with some of its classes only, which are all that occur."""
    labels, names = _labels(found), found.prompts or found.class_names
    check_labels(found, classes=len(names))
    own = (
        labels[:, classes]
        if labels.ndim == 2
        else np.where(labels >= 0, np.searchsorted(classes, labels), -1)
    )
    return dataclasses.replace(
        found,
        labels=own,
        class_names=[found.class_names[k] for k in classes] if found.class_names else (),
        prompts=[found.prompts[k] for k in classes] if found.prompts else (),
    )


def class_vectors(view: View) -> Float[np.ndarray, "k d"]:
    """One unit-norm vector a class.

    Raises:
        ValueError: the set has no names, or no templates to put them into.
    """
    prompts = prompts_of(view)
    flat = [prompt for own in prompts for prompt in own]
    vectors = _unit(view.prompts(flat))
    ends = np.cumsum([len(own) for own in prompts])
    means = [part.mean(axis=0) for part in np.split(vectors, ends[:-1])]
    return _unit(np.stack(means))


def prompts_of(view: View) -> list[list[str]]:
    """The prompts of each class.

    Raises:
        ValueError: see `class_vectors`.
    """
    found = view.set
    if found.prompts:
        return [list(own) for own in found.prompts]
    if not found.class_names:
        raise ValueError(
            f"{found.name} must say how its classes are called; write classnames.txt beside it, "
            "one a line, or give `classes` in the suite"
        )
    templates = found.templates or ("{c}",)
    check_templates(templates, where=found.name)
    return [[filled(template, name) for template in templates] for name in found.class_names]


def names_twice(names: Sequence[str]) -> list[str]:
    """A sentence on classes that no prompt can tell apart."""
    several = len(names) - len(set(names))
    if not several:
        return []
    twice = next(name for name in names if list(names).count(name) > 1)
    return [f"{several:,} classes have the name of another one, such as {twice!r}: a tie each time"]


def _unit(x: Float[np.ndarray, "*b d"]) -> Float[np.ndarray, "*b d"]:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
