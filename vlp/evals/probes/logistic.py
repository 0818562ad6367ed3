"""Logistic regression by L-BFGS: the minimum, and the way to it, that scikit-learn takes."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vlp.evals.probes.lbfgs import Found, minimise
from vlp.evals.probes.linear import Linear, places, spread

_HELD = 2**22  # scores at once
_REMEMBERED = 2**27  # numbers that the searches remember at once, 1 GiB
_exact = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Fit(NamedTuple):
    """A classifier, and how it was found.

    Attributes:
      head: The classifier, of all classes.
      steps: Iterations.
      converged: Whether the search ended before they did.
    """

    head: Linear
    steps: int
    converged: bool


class Logistic:
    """Samples to which classifiers are fitted, with different weights of the penalty.

    Minimises `C * sum of the losses + |weights|^2 / 2`; the bias has no penalty. Classes that do
    not occur take no part. Two classes have one vector of weights between them, as in
    scikit-learn, several have one each.

    It runs on the first device, or where that is a TPU on the host's CPU: sums and steps are in
    float64.

    Args:
      x: Features.
      labels: Of each sample, 0 to `num_classes` - 1.
      num_classes: How many classes there are.
      dtype: Of the features and of the products with them, "float32" or "float64".

    References:
      scikit-learn's `LogisticRegression(solver="lbfgs")`.
    """

    def __init__(
        self,
        x: Float[np.ndarray, "n d"],
        labels: Int[np.ndarray, " n"],
        *,
        num_classes: int,
        dtype: str = "float32",
    ):
        self.num_classes, self.dtype, self.count = num_classes, np.dtype(dtype), len(x)
        self.width = x.shape[1]
        self.seen, self._place = places(labels)
        self._x = x.astype(self.dtype)

    @property
    def columns(self) -> int:
        """Vectors of weights."""
        return len(self.seen) if len(self.seen) > 2 else 1

    def fit(
        self, cs: Sequence[float], *, max_iter: int = 1000, tolerance: float = 1e-4
    ) -> list[Fit]:
        """A classifier for each weight of the penalty, found together, each from zero.

        Args:
          cs: One over these weights; larger fits closer.
          max_iter: Iterations at most.
          tolerance: Of the largest entry of the gradient, of the mean loss of a sample.
        """
        size = (self.width + 1) * self.columns
        if len(self.seen) == 1:  # nothing to tell apart
            return [Fit(self._head(np.zeros(size)), 0, True) for _ in cs]
        most = max(1, _REMEMBERED // (20 * size))
        fits: list[Fit] = []
        for first in range(0, len(cs), most):
            fits += self._fitted(cs[first : first + most], max_iter, tolerance)
        return fits

    def _fitted(self, cs: Sequence[float], max_iter: int, tolerance: float) -> list[Fit]:
        rows = max(1, min(self.count, _HELD // (len(self.seen) * len(cs))))
        real = np.ones(self.count, self.dtype)
        samples = tuple(_blocks(each, rows) for each in (self._x, self._place, real))
        l2 = 1 / (np.asarray(cs, np.float64) * self.count)
        limits = (np.float64(tolerance), np.int32(max_iter))
        with jax.enable_x64(True):
            given = jax.device_put((samples, l2, limits), _device())
            found = jax.device_get(_fit(*given, columns=self.columns))
        return [
            Fit(self._head(point), int(steps), bool(converged))
            for point, steps, converged in zip(*found, strict=True)
        ]

    def _head(self, point: np.ndarray) -> Linear:
        cut = self.width * self.columns
        weights = point[:cut].reshape(self.width, self.columns).astype(self.dtype)
        bias = point[cut:].astype(self.dtype)
        if len(self.seen) == 2:  # the first of the two is where nothing adds
            weights, bias = np.pad(weights, ((0, 0), (1, 0))), np.pad(bias, (1, 0))
        return spread(weights, bias, seen=self.seen, num_classes=self.num_classes)


@partial(jax.jit, static_argnames="columns")
def _fit(samples: Any, l2: Float[Array, " c"], limits: tuple[Array, Array], *, columns: int) -> Any:
    value = partial(_losses, samples=samples, l2=l2, columns=columns)
    start = jnp.zeros((len(l2), (samples[0].shape[2] + 1) * columns))
    found: Found = minimise(value, start, tolerance=limits[0], max_iter=limits[1])
    return tuple(found)


def _losses(
    points: Float[Array, "c p"], *, samples: Any, l2: Float[Array, " c"], columns: int
) -> tuple[Float[Array, " c"], Float[Array, "c p"]]:
    """The mean losses with their penalties, in nats, and their gradients."""
    fits, dtype, count = len(l2), samples[0].dtype, samples[2].sum(dtype=points.dtype)
    weights, bias = jnp.split(points, [points.shape[1] - columns], axis=1)
    weights = weights.reshape(fits, -1, columns)
    side_by_side = weights.transpose(1, 0, 2).reshape(-1, fits * columns).astype(dtype)

    def step(sums: Any, block: tuple[Array, Array, Array]) -> tuple[Any, None]:
        x, place, real = block
        scores = _exact(x, side_by_side).reshape(-1, fits, columns) + bias.astype(dtype)[None]
        if columns == 1:
            scores = jnp.pad(scores, ((0, 0), (0, 0), (1, 0)))
        total = jax.nn.logsumexp(scores, axis=2, keepdims=True)
        own = jax.nn.one_hot(place, scores.shape[2], dtype=dtype)[:, None]
        loss = real[:, None] * (total[:, :, 0] - jnp.sum(own * scores, axis=2))
        error = (jnp.exp(scores - total) - own) * real[:, None, None]
        error = error[:, :, -columns:]
        moved = _exact(x.T, error.reshape(-1, fits * columns))
        new = (loss.sum(axis=0, dtype=points.dtype), moved, error.sum(axis=0))
        return tuple(a + b.astype(a.dtype) for a, b in zip(sums, new, strict=True)), None

    zeros = (jnp.zeros_like(l2), jnp.zeros(side_by_side.shape, points.dtype), jnp.zeros_like(bias))
    (loss, moved, shift), _ = jax.lax.scan(step, zeros, samples)
    moved = moved.reshape(-1, fits, columns).transpose(1, 0, 2) / count
    gradient = moved + l2[:, None, None] * weights
    value = loss / count + l2 / 2 * jnp.sum(weights * weights, axis=(1, 2))
    return value, jnp.concatenate([gradient.reshape(fits, -1), shift / count], axis=1)


def _device() -> Any:
    local = jax.local_devices()[0]
    return jax.local_devices(backend="cpu")[0] if local.platform == "tpu" else local


def _blocks(x: np.ndarray, rows: int) -> np.ndarray:
    """Rows in blocks, zeros at the end."""
    missing = -len(x) % rows
    padded = np.pad(x, ((0, missing), *((0, 0) for _ in x.shape[1:])))
    return padded.reshape(-1, rows, *x.shape[1:])
