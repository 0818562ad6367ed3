"""The objective's loss on pairs that are not trained on."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vlp.training.setup import Training
from vlp.training.state import TrainState


def held_out_loss(
    training: Training,
    state: TrainState,
    batches: Iterable[Mapping[str, Any]],
    *,
    weights: str = "params",
) -> tuple[dict[str, float], int]:
    """The means of the loss and of its terms over batches, by their pairs; nothing is updated.

    Every process must call this at the same time.

    Args:
        training: whose objective it is.
        state: the weights, and what the objective keeps besides.
        batches: as those of the training, on the devices.
        weights: of the state which are judged, "params" or "averaged".

    Returns:
        `loss` and the names that training logs, without "train/"; and how many pairs there were.
    """
    sums: dict[str, float] = {}
    pairs = 0.0
    for batch in batches:
        found = training.loss(state, batch, weights=weights)
        own = {name: np.asarray(value) for name, value in found.items()}
        count = float(own.pop("pairs"))
        if count:
            pairs += count
            for name, value in own.items():
                sums[name] = sums.get(name, 0.0) + count * float(value)
    means = {name.removeprefix("train/"): value / pairs for name, value in sums.items()}
    return means, int(pairs)
