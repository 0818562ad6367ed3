"""Running statistics of batch norm: arrays of the model that the step moves, not the optimiser."""

from typing import Any

from flax import nnx, traverse_util

from vlp.nn.batch_norm import BatchNorm, statistics
from vlp.training.params import Path


def statistics_paths(graphdef: Any, params: Any) -> frozenset[Path]:
    """The paths of a model's running statistics.

    Args:
        graphdef: the model's graph definition.
        params: its arrays or their shapes, a nested dict.
    """
    return frozenset(traverse_util.flatten_dict(statistics(nnx.merge(graphdef, params))))


def with_frozen_statistics(graphdef: Any, params: Any, *, frozen: frozenset[Path]) -> Any:
    """The graph definition of the model whose frozen statistics also normalise in training.

    A tower that does not train must give what it gives in evaluation; a frozen `mean` or `variance`
    therefore takes its whole batch norm out of training.

    Args:
        graphdef: the model's graph definition.
        params: its arrays or their shapes, a nested dict.
        frozen: paths of what does not train.
    """
    model = nnx.merge(graphdef, params)
    for path, module in nnx.iter_modules(model):
        if isinstance(module, BatchNorm) and frozen & {(*path, "mean"), (*path, "variance")}:
            module.frozen = True
    return nnx.split(model)[0]
