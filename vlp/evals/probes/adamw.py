"""A linear classifier trained by AdamW, as CLIP_benchmark trains its probe."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from vlp.evals.probes.linear import Linear


def train(
    x: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    *,
    num_classes: int,
    decays: Sequence[float],
    rate: float = 0.1,
    epochs: int = 10,
    batch_size: int = 64,
    seed: int = 0,
) -> list[Linear]:
    """One classifier a weight decay, all trained at once on the same batches from the same start.

    Weights start uniform within 1 / sqrt(d); the learning rate falls from its peak to 0 by a
    cosine, without a warm-up; the last batch of an epoch is smaller; the bias decays, too.

    Args:
      x: Features.
      labels: Of each sample. The classifiers know the classes up to the largest of these; classes
        beyond are never said.
      num_classes: How many classes there are.
      decays: Weight decays, as torch takes them: times the learning rate in each step.
      rate: Peak learning rate.
      epochs: How often each sample is seen.
      batch_size: Samples a step.
      seed: Of the start and of the order.

    References:
      clip_benchmark.metrics.linear_probe; Loshchilov and Hutter, 2019.
    """
    n, d = x.shape
    k = int(labels.max()) + 1
    rng = np.random.default_rng(seed)
    bound = 1 / math.sqrt(d)
    weights = rng.uniform(-bound, bound, (d, k)).astype(np.float32)
    bias = rng.uniform(-bound, bound, k).astype(np.float32)
    steps = -(-n // batch_size)
    order = np.full((epochs, steps * batch_size), -1, np.int32)
    order[:, :n] = [rng.permutation(n) for _ in range(epochs)]
    order = order.reshape(epochs * steps, batch_size)
    place = np.arange(len(order)) / len(order)
    rates = (rate * 0.5 * (1 + np.cos(np.pi * place))).astype(np.float32)
    data = (x.astype(np.float32), labels.astype(np.int32))
    found = _train((weights, bias), np.asarray(decays, np.float32), data, (order, rates))
    heads = zip(*jax.device_get(found), strict=True)
    more = num_classes - k
    return [
        Linear(
            np.pad(weights, ((0, 0), (0, more))),
            np.pad(bias, (0, more), constant_values=-np.inf),
        )
        for weights, bias in heads
    ]


@jax.jit
def _train(
    params: tuple[Float[Array, "d k"], Float[Array, " k"]],
    decays: Float[Array, " c"],
    data: tuple[Float[Array, "n d"], Int[Array, " n"]],
    schedule: tuple[Int[Array, "s b"], Float[Array, " s"]],
) -> tuple[Float[Array, "c d k"], Float[Array, "c k"]]:
    x, labels = data
    order, rates = schedule

    def loss(params: tuple[Array, Array], rows: Int[Array, " b"]) -> Float[Array, ""]:
        weights, bias = params
        real, rows = rows >= 0, jnp.maximum(rows, 0)
        scores = jnp.matmul(x[rows], weights, precision=jax.lax.Precision.HIGHEST) + bias[None]
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels[rows])
        return jnp.mean(losses, where=real)

    def with_decay(decay: Float[Array, ""]) -> tuple[Array, Array]:
        optimizer = optax.adamw(lambda step: rates[step], weight_decay=decay)

        def step(state: Any, rows: Int[Array, " b"]) -> tuple[Any, None]:
            params, moments = state
            gradient = jax.grad(loss)(params, rows)
            # optax raises Python floats to integer counters, which strict promotion refuses.
            with jax.numpy_dtype_promotion("standard"):
                updates, moments = optimizer.update(gradient, moments, params)
            return (optax.apply_updates(params, updates), moments), None

        return jax.lax.scan(step, (params, optimizer.init(params)), order)[0][0]

    return jax.vmap(with_decay)(decays)
