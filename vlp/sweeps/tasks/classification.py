"""Zero-shot classification: the class whose prompts are nearest."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vlp.evals.measures import Measure, class_mean, quotient
from vlp.evals.ranks import class_ranks
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.texts import check_templates, filled


def classification(view: View) -> Judged:
    """Top-1, top-5 and the mean over classes, as CLIP's authors judged it.

    Every class that is named competes, those that never occur too. The classifier is the mean of
    the unit-norm embeddings of a class's prompts, made unit-norm again. Ties are lost; won, they
    give what `Measure.if_hit` says. Top-5 exists from five classes on.

    Raises:
        ValueError: the set has no labels, or no names to make prompts of.

    References:
        Radford et al., 2021, section 3.1; clip_benchmark.metrics.zeroshot_classification.
    """
    found = view.set
    labels = found.labels
    if labels is None or labels.ndim != 1:
        raise ValueError(f"classification needs one label a picture, {found.name} has none")
    zclass = class_vectors(view)
    rows = view.pictures()
    own = labels[rows.ids]
    labelled = np.flatnonzero(own >= 0)
    if not len(labelled):
        raise ValueError(f"{found.name} must hold a picture with a label that can be read")
    ids, own = rows.ids[labelled], own[labelled]
    ranks, predicted = class_ranks(np.asarray(rows.vectors[labelled]), zclass, own)
    k = len(zclass)
    measures: dict[str, Measure] = {}
    for top in (1, 5) if k >= 5 else (1,):
        right, best = ranks.missed < top, ranks.hit < top
        measures[f"top{top}"] = quotient(right, if_hit=best, chance=min(1.0, top / k))
    measures["mean_per_class_recall"] = class_mean(
        ranks.missed == 0, own, num_classes=k, if_hit=ranks.hit == 0
    )
    counts = {"pictures": len(ids), "classes": k, "occurring": len(np.unique(own))}
    without = len(rows.ids) - len(ids)
    notes = [*rows.notes, *([f"{without:,} pictures have no label"] if without else [])]
    said = {"label": own, "predicted": predicted}
    return Judged(measures, len(ids), ids, said, counts, notes + names_twice(found.class_names))


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
