"""Zero-shot classification of pictures that have several labels, by average precision."""

import numpy as np

from vlp.evals.average_precision import mean_average_precision
from vlp.evals.measures import EITHER, OCCURRING
from vlp.metrics import scores
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.prompts import ENSEMBLES, class_vectors, names_twice
from vlp.sweeps.tasks.classification import check_labels


def multilabel(view: View, *, ensemble: str = ENSEMBLES[0], canonical: bool = False) -> Judged:
    """Mean average precision over classes, ties lost.

    `mAP` is over all classes, those that no picture has as 0, as CLIP_benchmark has it;
    `mAP_occurring` without these.

    Args:
        view: of a set with several labels a picture.
        ensemble, canonical: what becomes of prompts, see `vlp.sweeps.prompts.class_vectors`.

    Raises:
        ValueError: the set has not several labels a picture, or no names to make prompts of.

    References:
        clip_benchmark.metrics.zeroshot_classification.
    """
    found = view.set
    if found.labels is None or found.labels.ndim != 2:
        raise ValueError(
            f"multilabel needs which of several classes each picture has, {found.name} has one "
            "label a picture, or none; judge it by classification"
        )
    rows = view.pictures()
    if not len(rows.ids):
        raise ValueError(f"{found.name} must hold a picture that can be read")
    zclass = class_vectors(view, ensemble=ensemble, canonical=canonical)
    check_labels(found, classes=len(zclass))
    truth = found.labels[rows.ids]
    zimg = view.stages.logits_of(np.asarray(rows.vectors))
    given = view.stages.scored(np.asarray(scores(zimg, zclass)))
    measures = {
        name: mean_average_precision(given, truth, over=over)
        for name, over in (("mAP", EITHER), ("mAP_occurring", OCCURRING))
    }
    counts = {
        "pictures": len(rows.ids),
        "classes": len(zclass),
        "occurring": int(truth.any(axis=0).sum()),
        "without_label": int((~truth.any(axis=1)).sum()),
    }
    said = {"label": truth, "predicted": given.argmax(axis=1)}
    notes = [*rows.notes, *names_twice(found.class_names)]
    return Judged(measures, len(rows.ids), rows.ids, said, counts, notes)
