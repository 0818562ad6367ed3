"""Zero-shot classification: the class whose prompts are nearest."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from vlp.evals.class_scores import LOST, TIES, TOPS, class_scores, tops
from vlp.evals.measures import OCCURRING, Measure, Weights
from vlp.evals.ranks import Classified, class_ranks
from vlp.evals.reference_ties import check_torch
from vlp.settings import check_choice
from vlp.sweeps.judged import Judged, Redrawn, View
from vlp.sweeps.prompts import ENSEMBLES, ClassPrompts, names_twice
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.tasks.groups import by_group, group_values
from vlp.sweeps.tasks.reference import REFERENCE, classified

ALL = "all"


def check_classification(
    *,
    by: str = "top1",
    among: str = ALL,
    ties: str = LOST,
    ensemble: str = ENSEMBLES[0],
    **_: Any,
) -> None:
    """Raises ValueError for settings that are none."""
    check_choice("by", by, [f"top{top}" for top in TOPS])
    check_choice("among", among, (ALL, OCCURRING))
    check_choice("ties", ties, (*TIES, REFERENCE))
    check_choice("ensemble", ensemble, ENSEMBLES)
    if ties == REFERENCE:
        check_torch()


def classification(
    view: View,
    *,
    group: str = "",
    by: str = "top1",
    without: Sequence[str] = (),
    among: str = ALL,
    ties: str = LOST,
    ensemble: str = ENSEMBLES[0],
    canonical: bool = False,
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
            stands "first", as `argmax` has it; or as "lost" with `METRIC/as_clip_benchmark` beside,
            which is as "reference" decides them, see `vlp.evals.reference_ties`.
        ensemble, canonical: what becomes of prompts, see `vlp.sweeps.prompts.class_vectors`.

    Raises:
        ValueError: the set has no labels, or no names to make prompts of, or not the field.

    References:
        Radford et al., 2021, section 3.1; clip_benchmark.metrics.zeroshot_classification.
    """
    check_classification(by=by, among=among, ties=ties, ensemble=ensemble)
    competing = _competing(view.set, among)
    if competing is not None:
        view = view.on(_among(view.set, competing))
    found, rows = view.set, view.pictures()
    labels = _labels(found)[rows.ids]
    labelled = np.flatnonzero(labels.any(axis=1) if labels.ndim == 2 else labels >= 0)
    if not len(labelled):
        raise ValueError(f"{found.name} must hold a picture with a label that can be read")
    prompts = ClassPrompts.of(view, ensemble=ensemble, canonical=canonical)
    zclass = prompts.classes()
    check_labels(found, classes=len(zclass))
    ids, own = rows.ids[labelled], labels[labelled]
    zimg = view.stages.logits_of(np.asarray(rows.vectors[labelled]))
    rule = LOST if ties == REFERENCE else ties

    def ranked(classes: np.ndarray) -> Classified:
        return class_ranks(zimg, classes, own, dtype=view.stages.scores)

    def scored(named: Classified) -> dict[str, Measure]:
        measures = class_scores(named, own, num_classes=len(zclass), ties=rule)
        if group:
            right, best = tops(named, rule)[by]
            chance = measures[by].chance if by in measures else None
            named_by: Any = dict(field=group, if_hit=best, without=without, chance=chance)
            scores = by_group(group_values(found, group), ids, right, **named_by)
            measures |= {f"{name}/{by}": measure for name, measure in scores.items()}
        return measures

    def redrawn(counts: Weights) -> dict[str, float]:
        once, measures = np.ones(len(ids)), scored(ranked(prompts.classes(counts)))
        return {name: measure.of(once) for name, measure in measures.items()}

    named = ranked(zclass)
    measures = scored(named)
    if ties == REFERENCE:
        vectors = np.asarray(rows.vectors[labelled])
        measures |= classified(vectors, zclass, own, dtype=view.stages.scores)
    occurring = own.any(axis=0).sum() if own.ndim == 2 else len(np.unique(own))
    counts = {"pictures": len(ids), "classes": len(zclass), "occurring": int(occurring)}
    without_label = len(rows.ids) - len(ids)
    said = [f"{without_label:,} pictures have no label"] if without_label else []
    if competing is not None:
        said.append(f"only the {len(zclass):,} classes that occur compete")
    notes = [*rows.notes, *said, *names_twice(found.class_names)]
    said_of = {"label": own, "predicted": named.predicted}
    with_others = Redrawn(prompts.templates, redrawn)
    return Judged(measures, len(ids), ids, said_of, counts, notes, with_others)


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
        aliases=[found.aliases[k] for k in classes] if found.aliases else (),
        prompts=[found.prompts[k] for k in classes] if found.prompts else (),
    )
