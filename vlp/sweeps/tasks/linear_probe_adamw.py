"""Linear probes by AdamW, whose weight decay is chosen on a held-out part."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vlp.evals.features import EMBEDDING
from vlp.evals.probes.adamw import train
from vlp.evals.probes.draws import held_out, shots_in_turn
from vlp.evals.probes.linear import accuracy
from vlp.evals.probes.search import peak
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.tasks.learning import Lesson, check_least, judged, lesson


def linear_probe_adamw(
    view: View,
    *,
    feature: str = EMBEDDING,
    val_share: float = 0.1,
    shots: int = 0,
    rate: float = 0.1,
    epochs: int = 10,
    batch_size: int = 64,
) -> Judged:
    """A linear classifier trained by AdamW, whose weight decay is chosen on a held-out part.

    Args:
        view: of a set with labels and a training part.
        feature: that it learns from, see `vlp.evals.features`.
        val_share: of the training pictures that is held out, drawn by the seed; 0 for none, and no
            weight decay.
        shots: pictures a class, drawn by the seed, of those that are not held out; 0 for all, which
            then are joined by those held out for the last classifier.
        rate: peak learning rate.
        epochs: how often each picture is seen.
        batch_size: pictures a step.

    Raises:
        ValueError: see `vlp.sweeps.tasks.learning.lesson`; or a class has too few pictures.

    References:
        clip_benchmark.metrics.linear_probe.
    """
    for name, value, least in (
        ("shots", shots, 0), ("epochs", epochs, 1), ("batch_size", batch_size, 1)
    ):  # fmt: skip
        check_least(name, value, least)
    given = lesson(view, feature)
    kept, held = held_out(len(given.train), share=val_share, seed=view.seed)
    rows = kept
    if shots:
        few = shots_in_turn(given.train.labels[kept], shots=shots, draws=1, seed=view.seed)[0]
        rows = kept[few]
        _check_shots(given, rows, shots)
    learn, val = given.train.at(rows), given.train.at(held)
    settings: dict[str, Any] = dict(rate=rate, epochs=epochs, batch_size=batch_size, seed=view.seed)
    decay, notes = 0.0, ["no weight decay, as nothing is held out to choose it by"]
    if len(held):
        grid = np.logspace(-6, 2, 97)

        def score(places: Sequence[int]) -> dict[int, float]:
            heads = train(
                learn.x,
                learn.labels,
                num_classes=given.num_classes,
                decays=[float(grid[place]) for place in places],
                **settings,
            )
            own = (accuracy(head, val.x, val.labels) for head in heads)
            return dict(zip(places, own, strict=True))

        decay = float(grid[peak(len(grid), score)])
        notes = [
            f"weight decay {decay:.4g} chosen on {len(held):,} held-out training pictures "
            f"(seed {view.seed})"
        ]
    last = learn if shots else given.train
    (head,) = train(last.x, last.labels, num_classes=given.num_classes, decays=[decay], **settings)
    return judged(given, [head], held=len(held), notes=notes)


def _check_shots(given: Lesson, rows: np.ndarray, shots: int) -> None:
    counts = np.unique(given.train.labels[rows], return_counts=True)[1]
    if (counts < shots).any():
        raise ValueError(
            f"every class must have {shots} training pictures that are not held out, "
            f"{(counts < shots).sum():,} have fewer; take fewer shots"
        )
