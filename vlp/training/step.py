"""One training step: gradients of the mean over the global batch, a guarded update, the metrics."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vlp.models.protocols import given
from vlp.nn.batch_norm import statistics
from vlp.objectives import Context, Losses, Momentum, Objective, Term
from vlp.training.optim.optimizers import Optimizer
from vlp.training.params import Path, join, partition
from vlp.training.state import TrainState

# One norm an array, for naming the culprits of a non-finite step; the only metric with an axis.
BY_ARRAY = "grad/l2_by_array"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a step does, beside the arrays that it does it with.

    Attributes:
        graphdef: the model's graph definition.
        objective: what is minimised.
        optimizer: what turns gradients into updates.
        seed: randomness at step k is `fold_in(key(seed), k)`.
        untrained: paths of the parameters that do not train.
        moving: paths of batch norm's running statistics, which the loss itself moves in the model.
        average: of the parameters that are evaluated; None for no such average.
        foreign: graph definitions of the frozen models, by name.
    """

    graphdef: Any
    objective: Objective
    optimizer: Optimizer
    seed: int
    untrained: frozenset[Path] = frozenset()
    moving: frozenset[Path] = frozenset()
    average: Momentum | None = None
    foreign: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def train_step(
    recipe: Recipe, state: TrainState, batch: Mapping[str, Any], frozen: Mapping[str, Any]
) -> tuple[TrainState, dict[str, Any]]:
    """The next state and the metrics; to be compiled by `jax.jit`.

    A non-finite loss or gradient leaves all but the step as it was: `train/skipped` is 1.

    Args:
        recipe: what to do.
        state: before the step.
        batch: the global batch.
        frozen: parameters of the frozen models, by name.
    """
    trainable, fixed = partition(state.params, recipe.untrained | recipe.moving)

    def loss(trainable: Any) -> tuple[jax.Array, tuple[Losses, dict[Any, Any]]]:
        return mean_loss(recipe, join(trainable, fixed), state, batch, frozen)

    (value, (losses, moved)), grads = jax.value_and_grad(loss, has_aux=True)(trainable)
    norms = l2_by_array(grads)
    norm = jnp.sqrt(jnp.sum(jnp.square(norms)))
    fine = jnp.isfinite(value) & jnp.isfinite(norm)

    def update(state: TrainState) -> tuple[TrainState, jax.Array]:
        trainable, fixed = partition(state.params, recipe.untrained | recipe.moving)
        updates, opt_state = recipe.optimizer.update(
            grads, state.opt_state, trainable, step=state.step
        )
        params = join(jax.tree.map(jnp.add, trainable, updates), join(fixed, moved))
        how = recipe.objective.momentum
        new = TrainState(
            step=state.step,
            params=params,
            opt_state=opt_state,
            momentum=_average(state.momentum, params, how, recipe, state.step),
            averaged=_average(state.averaged, params, recipe.average, recipe, state.step),
            carry=losses.carry,
        )
        return new, l2(updates)

    new, length = _once(fine, update, (state, jnp.float32(0)))
    new = dataclasses.replace(new, step=state.step + 1)
    metrics = logged(losses, batch["weight"]) | {
        "train/loss": value,
        "train/pairs": jnp.sum(batch["weight"]),
        "train/lr": recipe.optimizer.schedule(state.step),
        "train/skipped": 1.0 - fine.astype(jnp.float32),
        "grad/l2": norm,
        "params/l2": l2(partition(new.params, recipe.moving)[0]),
        "update/l2": length,
        BY_ARRAY: norms,
    }
    return new, metrics


def _once(
    go: Bool[Array, ""], update: Callable[[Any], Any], before: tuple[Any, Any]
) -> tuple[Any, Any]:
    """`update(state)` if `go`, else `before`: a state, and what an update of it says besides.

    A loop of one turn or none: what a loop carries it changes in its place, while both sides of
    `jnp.where` or `jax.lax.cond` take memory of their own.
    """

    def turn(carry: Any) -> Any:
        return (jnp.array(False), *update(carry[1]))

    return jax.lax.while_loop(lambda carry: carry[0], turn, (go, *before))[1:]


def mean_loss(
    recipe: Recipe,
    params: Any,
    state: TrainState,
    batch: Mapping[str, Any],
    frozen: Mapping[str, Any],
) -> tuple[Float[Array, ""], tuple[Losses, dict[Any, Any]]]:
    """What is minimised; besides the objective's losses and batch norm's statistics after it.

    Args:
        params: the model's parameters; those of the state are not looked at.
        recipe, state, batch, frozen: as in `train_step`.
    """
    model = nnx.merge(recipe.graphdef, params)
    momentum = state.momentum
    foreign = merged(recipe, frozen)
    ctx = Context(
        model=given(model, foreign),
        batch=batch,
        key=jax.random.fold_in(jax.random.key(recipe.seed), state.step),
        step=state.step,
        carry=state.carry,
        momentum=momentum and given(nnx.merge(recipe.graphdef, momentum), foreign),
        frozen=foreign,
    )
    losses = recipe.objective(ctx)
    return total(losses, batch["weight"]), (losses, statistics(model))


def merged(recipe: Recipe, frozen: Mapping[str, Any]) -> dict[str, Any]:
    """The frozen models, by name, from their parameters."""
    return {name: nnx.merge(recipe.foreign[name], params) for name, params in frozen.items()}


def total(losses: Losses, weight: Float[Array, " n"]) -> Float[Array, ""]:
    """The sum of the terms' means times their weights.

    Terms over all rows are added up first, and the mean of the sum is taken once.
    """
    whole = [term.weight * term.values for term in losses.terms.values() if term.rows is None]
    means = [weighted_mean(functools.reduce(operator.add, whole), weight)] if whole else []
    for term in losses.terms.values():
        if term.rows is not None:
            means.append(term.weight * weighted_mean(term.values, _of(term, weight)))
    return functools.reduce(operator.add, means)


def weighted_mean(values: Float[Array, " n"], weight: Float[Array, " n"]) -> Float[Array, ""]:
    """The mean over the examples of the global batch by weight; 0 when no weight is left.

    Args:
        values: one number an example; those of weight 0 may be anything.
        weight: at least 0.
    """
    total = jnp.sum(weight)
    summed = jnp.sum(jnp.where(weight > 0, values, 0.0) * weight)
    return jnp.where(total > 0, summed / jnp.where(total > 0, total, 1.0), 0.0)


def logged(losses: Losses, weight: Float[Array, " n"]) -> dict[str, Float[Array, ""]]:
    """The means of terms and metrics, under `train/` where their names say no other place."""
    metrics = {
        name: weighted_mean(value, weight) if jnp.ndim(value) else value
        for name, value in losses.metrics.items()
    }
    for name, term in losses.terms.items():
        metrics[f"{name}_loss"] = weighted_mean(term.values, _of(term, weight))
    return {name if "/" in name else f"train/{name}": value for name, value in metrics.items()}


def _of(term: Term, weight: Float[Array, " n"]) -> Float[Array, " n"]:
    """The weights of the rows that a term is about."""
    return weight if term.rows is None else jnp.where(term.rows, weight, 0.0)


def l2_by_array(tree: Any) -> Float[Array, " arrays"]:
    """The L2 norm of every array of a pytree, in the order of its leaves, float32."""
    squares = [jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(jnp.stack(squares))


def l2(tree: Any) -> Float[Array, ""]:
    """The L2 norm of all arrays of a pytree together, float32."""
    return jnp.sqrt(jnp.sum(jnp.square(l2_by_array(tree))))


def _average(before: Any, params: Any, how: Momentum | None, recipe: Recipe, step: Any) -> Any:
    """A moving average one step on; parameters that do not train are the model's to the bit."""
    if how is None:
        return before
    now = step.astype(jnp.float32)
    decay = jnp.asarray(how.decay, jnp.float32)
    if how.warmup:
        decay = jnp.minimum(how.decay, (1.0 + now) / (10.0 + now))
    slow, fixed = partition(before, recipe.untrained)
    fast, _ = partition(params, recipe.untrained)
    moved = jax.tree.map(lambda t, p: (decay * t + (1.0 - decay) * p).astype(t.dtype), slow, fast)
    return join(moved, fixed)
