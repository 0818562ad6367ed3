"""The train state: everything that changes while training, as one pytree of arrays."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

# What a model may hold: what is learned, and the running statistics of batch norm.
VARIABLES = (nnx.Param, nnx.BatchStat)
MakeModel = Callable[[nnx.Rngs], nnx.Module]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """No more than this: randomness follows from seed and step, the data's place is the loader's.

    Attributes:
        step: updates taken or skipped so far, int32.
        params: nested dict of the model's parameters, running statistics of batch norm included.
        opt_state: the optimiser's state, for the parameters that train.
        momentum: the moving average of `params` that the objective looks at, or None.
        averaged: the moving average of `params` that is evaluated, or None.
        carry: what the objective hands from step to step, or None.
    """

    step: Any
    params: Any
    opt_state: Any
    momentum: Any = None
    averaged: Any = None
    carry: Any = None


def abstract_model(make_model: MakeModel) -> tuple[Any, Any]:
    """The graph definition of a model and its parameters' shapes; allocates nothing.

    Raises:
        ValueError: when the model holds other variables, such as random state.
    """
    model = nnx.eval_shape(lambda: make_model(nnx.Rngs(0)))
    graphdef, params, *rest = nnx.split(model, VARIABLES, ...)
    extra = jax.tree_util.tree_leaves_with_path([nnx.to_pure_dict(each) for each in rest])
    if extra:
        names = ", ".join(jax.tree_util.keystr(p[1:], simple=True, separator="/") for p, _ in extra)
        raise ValueError(
            f"a model may hold nothing but parameters (nnx.Param) and statistics (nnx.BatchStat), "
            f"got {names}; hand randomness in by key and keep constants outside of variables"
        )
    return graphdef, nnx.to_pure_dict(params)
