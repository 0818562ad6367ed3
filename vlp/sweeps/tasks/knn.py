"""Classification by the nearest training pictures, as DINO judges its models."""

from collections.abc import Sequence

import numpy as np

from vlp.evals.features import POOLED
from vlp.evals.measures import Measure
from vlp.evals.probes.linear import classified
from vlp.evals.probes.neighbours import nearest, votes
from vlp.evals.unit_norm import unit_norm
from vlp.metrics import TIE_TOLERANCE
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.tasks.accuracies import accuracies
from vlp.sweeps.tasks.learning import check_least, lesson, say


def knn(
    view: View,
    *,
    ks: Sequence[int] = (10, 20),
    temperature: float = 0.07,
    feature: str = POOLED,
) -> Judged:
    """Accuracy of the vote of the k nearest training pictures, by cosine.

    A class without a vote is tied with all others of that kind. Nothing is drawn.

    Args:
        view: of a set with labels and a training part.
        ks: numbers of neighbours; metrics are `K-nn/top1` and so on.
        temperature: a neighbour's vote is exp(cosine / temperature).
        feature: that is compared, made unit-norm; see `vlp.evals.features`.

    Raises:
        ValueError: see `vlp.sweeps.tasks.learning.lesson`.

    References:
        Caron et al., 2021 (DINO), https://arxiv.org/abs/2104.14294.
    """
    if not ks or not temperature > 0:
        raise ValueError(
            f"ks must name a number, and temperature be over 0, got {list(ks)}, {temperature}"
        )
    for k in ks:
        check_least("ks", k, 1)
    given = lesson(view, feature)
    train, test, classes = given.train, given.test, given.num_classes
    most = min(max(ks), len(train))
    cosines, which = nearest(unit_norm(test.x), unit_norm(train.x), k=most)
    both = np.concatenate([cosines, which], axis=1, dtype=np.float64)
    measures: dict[str, Measure] = {}
    said = {"label": test.labels}
    for k in ks:
        count = min(k, most)

        def score(part: np.ndarray, count: int = count) -> np.ndarray:
            near, places = part[:, :count], part[:, most : most + count].astype(np.int64)
            return votes(near, train.labels[places], num_classes=classes, temperature=temperature)

        tolerance = TIE_TOLERANCE / temperature  # what rounding a cosine makes of a vote
        found = classified(score, both, test.labels, num_classes=classes, tolerance=tolerance)
        own = accuracies([found], test.labels, num_classes=classes)
        measures |= {f"{k}-nn/{name}": measure for name, measure in own.items()}
        said["predicted"] = found.predicted  # those of the last k remain
    fewer = [k for k in ks if k > most]
    notes = [f"there are {most:,} training pictures: k = {k} takes all of them" for k in fewer]
    return Judged(measures, len(test), test.ids, said, given.counts, say([*given.notes, *notes]))
