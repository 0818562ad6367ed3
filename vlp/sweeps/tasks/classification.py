"""Zero-shot classification: the class whose prompts are nearest."""

import numpy as np

from vlp.evals.measures import Measure, class_mean, quotient
from vlp.evals.ranks import class_ranks
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.prompts import class_vectors, names_twice


def classification(view: View, *, ensemble: str = "embeddings", canonical: bool = False) -> Judged:
    """Top-1, top-5 and the mean over classes, as CLIP's authors judged it.

    Every class that is named competes, those that never occur too. The classifier is the mean of
    the unit-norm embeddings of a class's prompts, made unit-norm again. Ties are lost; won, they
    give what `Measure.if_hit` says. Top-5 exists from five classes on.

    Args:
        view: of a set with labels and the names of classes.
        ensemble, canonical: what becomes of prompts, see `vlp.sweeps.prompts.class_vectors`.

    Raises:
        ValueError: the set has no labels, or no names to make prompts of.

    References:
        Radford et al., 2021, section 3.1; clip_benchmark.metrics.zeroshot_classification.
    """
    found = view.set
    labels = found.labels
    if labels is None or labels.ndim != 1:
        raise ValueError(f"classification needs one label a picture, {found.name} has none")
    zclass = class_vectors(view, ensemble=ensemble, canonical=canonical)
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
