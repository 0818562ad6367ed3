"""Few-shot classification by least squares in closed form, as big_vision judges its models."""

from collections.abc import Sequence

import numpy as np

from vlp.evals.features import POOLED
from vlp.evals.measures import Measure
from vlp.evals.probes.draws import shots_by_class
from vlp.evals.probes.linear import classified
from vlp.evals.probes.ridge import ridge
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.tasks.accuracies import accuracies
from vlp.sweeps.tasks.learning import check_least, few_notes, lesson, say


def few_shot(
    view: View,
    *,
    shots: Sequence[int] = (1, 5, 10, 25),
    seeds: int = 3,
    l2: float = 1024.0,
    feature: str = POOLED,
) -> Judged:
    """Accuracy of least squares on a few pictures of each class: the mean over seeds.

    Args:
        view: of a set with labels and a training part.
        shots: pictures a class; metrics are `K-shot/top1` and so on.
        seeds: 0 to this, without it, each a draw.
        l2: weight of the penalty, over 0; 2^10 in big_vision's configs.
        feature: that it learns from, see `vlp.evals.features`.

    Raises:
        ValueError: see `vlp.sweeps.tasks.learning.lesson`.

    References:
        big_vision, evaluators/fewshot_lsr.py.
    """
    check_least("seeds", seeds, 1)
    if not shots or not l2 > 0:
        raise ValueError(f"shots must name a number, and l2 be over 0, got {list(shots)}, {l2}")
    for count in shots:
        check_least("shots", count, 1)
    given = lesson(view, feature)
    train, test, k = given.train, given.test, given.num_classes
    drawn = [shots_by_class(train.labels, seed=seed) for seed in range(seeds)]
    measures: dict[str, Measure] = {}
    said = {"label": test.labels}
    for count in shots:
        found = []
        for by_class in drawn:
            part = train.at(np.concatenate([rows[:count] for rows in by_class]))
            head = ridge(part.x, part.labels, num_classes=k, l2=l2)
            found.append(classified(head, test.x, test.labels, num_classes=k))
        own = accuracies(found, test.labels, num_classes=k)
        measures |= {f"{count}-shot/{name}": measure for name, measure in own.items()}
        said["predicted"] = found[0].predicted  # those of the last number of shots remain
    notes = [
        f"mean over seeds 0 to {seeds - 1}; intervals are over pictures",
        *few_notes(train.labels, shots),
    ]
    return Judged(measures, len(test), test.ids, said, given.counts, say([*given.notes, *notes]))
