"""The objective's loss on pairs that are not trained on."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from vlp.parallel.sharding import batch_sharding, replicated, rows_kept
from vlp.training.setup import Training
from vlp.training.state import TrainState
from vlp.training.step import logged, mean_loss


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
    compute = _compiled(training)
    sums: dict[str, float] = {}
    pairs = 0.0
    for batch in batches:
        found = compute(getattr(state, weights), state, batch, training.frozen)
        own = {name: np.asarray(value) for name, value in found.items()}
        count = float(own.pop("pairs"))
        if count:
            pairs += count
            for name, value in own.items():
                sums[name] = sums.get(name, 0.0) + count * float(value)
    means = {name.removeprefix("train/"): value / pairs for name, value in sums.items()}
    return means, int(pairs)


@lru_cache(maxsize=2)
def _compiled(training: Training) -> Any:
    recipe = training.recipe

    def compute(params: Any, state: TrainState, batch: Mapping[str, Any], frozen: Any) -> Any:
        with rows_kept(training.mesh):
            value, (losses, _) = mean_loss(recipe, params, state, batch, frozen)
        numbers = {n: v for n, v in logged(losses, batch["weight"]).items() if v.ndim == 0}
        return numbers | {"train/loss": value, "pairs": batch["weight"].sum()}

    state, frozen = (
        jax.tree.map(lambda leaf: leaf.sharding, tree)
        for tree in (training.abstract, training.frozen)
    )
    return jax.jit(
        compute,
        in_shardings=(state.params, state, batch_sharding(training.mesh), frozen),
        out_shardings=replicated(training.mesh),
    )
