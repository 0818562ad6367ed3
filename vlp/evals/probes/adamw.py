"""A linear classifier trained by AdamW, as CLIP_benchmark trains its probe."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vlp.evals.probes.linear import Linear

_BETAS, _EPS = (0.9, 0.999), 1e-8  # of torch's AdamW


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
    weights = rng.uniform(-bound, bound, (d, 1, k)).astype(np.float32)
    bias = rng.uniform(-bound, bound, (1, k)).astype(np.float32)
    steps = -(-n // batch_size)
    order = np.full((epochs, steps * batch_size), -1, np.int32)
    order[:, :n] = [rng.permutation(n) for _ in range(epochs)]
    order = order.reshape(epochs * steps, batch_size)
    count = len(decays)
    params = (np.repeat(weights, count, axis=1), np.repeat(bias, count, axis=0))
    place = np.arange(len(order)) / len(order)
    rates = (rate * 0.5 * (1 + np.cos(np.pi * place))).astype(np.float32)
    data = (x.astype(np.float32), labels.astype(np.int32))
    found = _train(params, np.asarray(decays, np.float32), data, (order, rates))
    weights, bias = jax.device_get(found)
    more = num_classes - k
    return [
        Linear(
            np.pad(weights[:, i], ((0, 0), (0, more))),
            np.pad(bias[i], (0, more), constant_values=-np.inf),
        )
        for i in range(count)
    ]


@jax.jit
def _train(
    params: tuple[Float[Array, "d c k"], Float[Array, "c k"]],
    decays: Float[Array, " c"],
    data: tuple[Float[Array, "n d"], Int[Array, " n"]],
    schedule: tuple[Int[Array, "s b"], Float[Array, " s"]],
) -> Any:
    x, labels = data
    exact = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)

    def step(state: Any, given: tuple[Array, Array]) -> tuple[Any, None]:
        (weights, bias), first, second, count = state
        rows, rate = given
        real = (rows >= 0).astype(x.dtype)
        batch = x[jnp.maximum(rows, 0)]
        own = jax.nn.one_hot(labels[jnp.maximum(rows, 0)], bias.shape[1], dtype=x.dtype)
        scores = exact("bd,dck->bck", batch, weights) + bias[None]
        error = jax.nn.softmax(scores, axis=2) - own[:, None]
        error = error * (real / real.sum())[:, None, None]
        gradient = (exact("bd,bck->dck", batch, error), error.sum(axis=0))
        count = count + 1
        first = _moved(first, gradient, _BETAS[0])
        second = _moved(second, jax.tree.map(jnp.square, gradient), _BETAS[1])
        kept = 1 - rate * decays[:, None]
        params = tuple(
            p * (kept[None] if p.ndim == 3 else kept)
            - rate
            * (m / (1 - _BETAS[0] ** count))
            / (jnp.sqrt(v / (1 - _BETAS[1] ** count)) + _EPS)
            for p, m, v in zip((weights, bias), first, second, strict=True)
        )
        return (params, first, second, count), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    start = (params, zeros, zeros, jnp.zeros((), x.dtype))
    return jax.lax.scan(step, start, schedule)[0][0]


def _moved(mean: Any, new: Any, keeping: float) -> Any:
    """A moving average, a step on."""
    return jax.tree.map(lambda m, g: keeping * m + (1 - keeping) * g, mean, new)
