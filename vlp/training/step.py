"""One training step: gradients of the mean over the global batch, a guarded update, the metrics."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vlp.nn.batch_norm import statistics
from vlp.training.optim.optimizers import Optimizer
from vlp.training.params import Path, join, partition
from vlp.training.state import TrainState

# loss(model, teacher, batch, *, key, carry) -> (per-example loss [n], metrics, carry)
Loss = Callable[..., tuple[Any, Mapping[str, Any], Any]]
Step = Callable[[TrainState, Mapping[str, Any]], tuple[TrainState, dict[str, Any]]]

# One norm an array, for naming the culprits of a non-finite step; the only metric with an axis.
BY_ARRAY = "grad/l2_by_array"


def make_train_step(
    loss: Loss,
    *,
    graphdef: Any,
    optimizer: Optimizer,
    seed: int,
    frozen: frozenset[Path] = frozenset(),
    moving: frozenset[Path] = frozenset(),
    ema_decay: float | None = None,
    ema_warmup: bool = True,
) -> Step:
    """The function from state and batch to next state and metrics, to be compiled by `jax.jit`.

    A non-finite loss, gradient or update leaves all but the step as it was: `train/skipped` is 1.

    Args:
        loss: an objective's loss.
        graphdef: the model's graph definition.
        optimizer: what turns gradients into updates.
        seed: randomness at step k is `fold_in(key(seed), k)`.
        frozen: paths of the parameters that do not train.
        moving: paths of batch norm's running statistics, which the loss itself moves in the model.
        ema_decay: decay of the teacher's moving average; used when the state has a teacher. It
            averages running statistics as it does parameters.
        ema_warmup: begin with a shorter average, decay `(1 + step) / (10 + step)`.
    """
    mean_loss = make_mean_loss(loss, graphdef=graphdef, seed=seed)

    def train_step(
        state: TrainState, batch: Mapping[str, Any]
    ) -> tuple[TrainState, dict[str, Any]]:
        trainable, fixed = partition(state.params, frozen | moving)
        gradients = jax.value_and_grad(mean_loss, has_aux=True)
        (value, (metrics, carry, moved_statistics)), grads = gradients(
            trainable, fixed, state, batch
        )
        norms = l2_by_array(grads)
        norm = jnp.sqrt(jnp.sum(jnp.square(norms)))
        updates, opt_state = optimizer.update(grads, state.opt_state, trainable, step=state.step)
        moved = l2(updates)
        fine = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.isfinite(moved)
        params = join(jax.tree.map(jnp.add, trainable, updates), join(fixed, moved_statistics))
        teacher = state.teacher
        if teacher is not None and ema_decay is not None:
            decay = _ema_decay(state.step, decay=ema_decay, warmup=ema_warmup)
            teacher = _moved(teacher, params, decay=decay, frozen=frozen)

        new = TrainState(state.step + 1, params, opt_state, teacher, carry)
        kept = TrainState(new.step, state.params, state.opt_state, state.teacher, state.carry)
        new = jax.tree.map(lambda yes, no: jnp.where(fine, yes, no), new, kept)
        metrics |= {
            "train/loss": value,
            "train/pairs": jnp.sum(batch["weight"]),
            "train/lr": optimizer.schedule(state.step),
            "train/skipped": 1.0 - fine.astype(jnp.float32),
            "grad/l2": norm,
            "params/l2": l2(partition(new.params, moving)[0]),
            "update/l2": jnp.where(fine, moved, 0.0),
            BY_ARRAY: norms,
        }
        return new, metrics

    return train_step


def make_mean_loss(loss: Loss, *, graphdef: Any, seed: int) -> Callable[..., Any]:
    """The function `(trainable, fixed, state, batch) -> (mean loss, (metrics, carry, statistics))`.

    Its parameters are those of the first two arguments; the state gives step, teacher and carry.
    The statistics are batch norm's running ones after this batch, a nested dict, empty for most.
    """

    def mean_loss(
        trainable: Any, fixed: Any, state: TrainState, batch: Mapping[str, Any]
    ) -> tuple[jax.Array, tuple[dict[str, Any], Any, dict[Any, Any]]]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        model = nnx.merge(graphdef, join(trainable, fixed))
        teacher = None if state.teacher is None else nnx.merge(graphdef, state.teacher)
        losses, metrics, carry = loss(model, teacher, batch, key=key, carry=state.carry)
        mean = weighted_mean(losses, batch["weight"])
        return mean, (_reduced(metrics, batch["weight"]), carry, statistics(model))

    return mean_loss


def weighted_mean(values: Float[Array, " n"], weight: Float[Array, " n"]) -> Float[Array, ""]:
    """The mean over the examples of the global batch by weight; 0 when no weight is left.

    Args:
        values: one number an example; those of weight 0 may be anything.
        weight: at least 0.
    """
    total = jnp.sum(weight)
    summed = jnp.sum(jnp.where(weight > 0, values, 0.0) * weight)
    return jnp.where(total > 0, summed / jnp.where(total > 0, total, 1.0), 0.0)


def l2_by_array(tree: Any) -> Float[Array, " arrays"]:
    """The L2 norm of every array of a pytree, in the order of its leaves, float32."""
    squares = [jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(jnp.stack(squares))


def l2(tree: Any) -> Float[Array, ""]:
    """The L2 norm of all arrays of a pytree together, float32."""
    return jnp.sqrt(jnp.sum(jnp.square(l2_by_array(tree))))


def _reduced(metrics: Mapping[str, Any], weight: jax.Array) -> dict[str, Any]:
    """An objective's metrics as scalars under `train/`: one number an example becomes the mean."""
    return {
        name if "/" in name else f"train/{name}": (
            weighted_mean(value, weight) if jnp.ndim(value) else value
        )
        for name, value in metrics.items()
    }


def _ema_decay(step: jax.Array, *, decay: float, warmup: bool) -> jax.Array:
    if not warmup:
        return jnp.asarray(decay, jnp.float32)
    now = step.astype(jnp.float32)
    return jnp.minimum(decay, (1.0 + now) / (10.0 + now))


def _moved(teacher: Any, params: Any, *, decay: jax.Array, frozen: frozenset[Path]) -> Any:
    """The teacher one step on; frozen parameters are the student's to the bit."""
    slow, fixed = partition(teacher, frozen)
    fast, _ = partition(params, frozen)
    moved = jax.tree.map(lambda t, p: (decay * t + (1.0 - decay) * p).astype(t.dtype), slow, fast)
    return join(moved, fixed)
