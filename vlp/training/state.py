"""The train state: everything that changes while training, as one pytree of arrays."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vlp.training.optim.optimizers import Optimizer
from vlp.training.params import Path, join, partition

# What a model may hold: what is learned, and the running statistics of batch norm.
VARIABLES = (nnx.Param, nnx.BatchStat)
MakeModel = Callable[[nnx.Rngs], nnx.Module]
MakeCarry = Callable[[nnx.Module], Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """No more than this: randomness follows from seed and step, the data's place is the loader's.

    Attributes:
        step: updates taken or skipped so far, int32.
        params: nested dict of the model's parameters, running statistics of batch norm included.
        opt_state: the optimiser's state, for the parameters that train.
        teacher: moving average of `params`, or None.
        carry: what the objective hands from step to step, or None.
    """

    step: Any
    params: Any
    opt_state: Any
    teacher: Any = None
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


def initial_state(
    make_model: MakeModel,
    *,
    given: Any,
    key: jax.Array,
    optimizer: Optimizer,
    frozen: frozenset[Path],
    with_teacher: bool,
    make_carry: MakeCarry | None,
) -> TrainState:
    """The state at step 0; to be traced by `jax.jit` or `jax.eval_shape`, which say where it lives.

    Args:
        make_model: from `nnx.Rngs` to the model.
        given: parameters to begin with, a nested dict of some of the model's; `{}` for none.
        key: of all other parameters.
        optimizer: whose state to begin with.
        frozen: parameters that do not train.
        with_teacher: begin a moving average.
        make_carry: from the model to the objective's first carry.
    """
    model = make_model(nnx.Rngs(key))
    carry = make_carry(model) if make_carry is not None else None
    params = join(nnx.to_pure_dict(nnx.split(model, VARIABLES, ...)[1]), given)
    trainable, _ = partition(params, frozen)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(trainable),
        teacher=jax.tree.map(jnp.copy, params) if with_teacher else None,
        carry=carry,
    )
