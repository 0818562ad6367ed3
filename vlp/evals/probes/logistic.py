"""Logistic regression by L-BFGS: the minimum, and the way to it, that scikit-learn takes."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.optimize import minimize

from vlp.evals.probes.linear import Linear, places, spread

_HELD = 2**22  # scores at once
_exact = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Fit(NamedTuple):
    """A classifier, and how it was found.

    Attributes:
      head: The classifier, of all classes.
      point: Where the search ended, to start another one from.
      steps: Iterations.
      converged: Whether the search ended before they did.
    """

    head: Linear
    point: Float[np.ndarray, " p"]
    steps: int
    converged: bool


class Logistic:
    """Samples to which classifiers are fitted, with different weights of the penalty.

    Minimises `C * sum of the losses + |weights|^2 / 2`; the bias has no penalty. Classes that do
    not occur take no part. Two classes have one vector of weights between them, as in
    scikit-learn, several have one each.

    Args:
      x: Features.
      labels: Of each sample, 0 to `num_classes` - 1.
      num_classes: How many classes there are.
      dtype: "float32", on the first device, or "float64", there or, where that is a TPU, on the
        host's CPU.

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
        self.seen, place = places(labels)
        rows = max(1, min(len(x), _HELD // len(self.seen)))
        real = np.ones(len(x), self.dtype)
        with self._precision():
            blocks = (_blocks(each, rows) for each in (x.astype(self.dtype), place, real))
            self._samples = jax.device_put(tuple(blocks), self._device())

    @property
    def columns(self) -> int:
        """Vectors of weights."""
        return len(self.seen) if len(self.seen) > 2 else 1

    def fit(
        self,
        c: float,
        *,
        max_iter: int = 1000,
        tolerance: float = 1e-4,
        start: Float[np.ndarray, " p"] | None = None,
    ) -> Fit:
        """The classifier for one weight of the penalty.

        Args:
          c: One over the weight of the penalty; larger fits closer.
          max_iter: Iterations at most.
          tolerance: Of the largest entry of the gradient, of the mean loss of a sample.
          start: `point` of another fit; zero unless given.
        """
        point = np.zeros((self.width + 1) * self.columns) if start is None else start
        if len(self.seen) == 1:  # nothing to tell apart
            return Fit(self._head(np.zeros_like(point)), point, 0, True)
        found = minimize(
            self._value,
            point,
            args=(1 / (c * self.count),),
            method="L-BFGS-B",
            jac=True,
            options={
                "maxiter": max_iter,
                "maxls": 50,
                "gtol": tolerance,
                "ftol": 64 * np.finfo(float).eps,
            },
        )
        return Fit(self._head(found.x), found.x, found.nit, found.nit < max_iter)

    def _value(self, point: np.ndarray, l2: float) -> tuple[float, np.ndarray]:
        weights, bias = self._parts(point.astype(self.dtype))
        with self._precision():
            given = (weights, bias, self.dtype.type(l2), self.dtype.type(self.count))
            found = _loss_and_gradient(*jax.device_put(given, self._device()), self._samples)
            loss, dweights, dbias = jax.device_get(found)
        gradient = np.concatenate([dweights.ravel(), dbias]).astype(np.float64)
        return float(loss), gradient

    def _parts(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cut = self.width * self.columns
        return point[:cut].reshape(self.width, self.columns), point[cut:]

    def _head(self, point: np.ndarray) -> Linear:
        weights, bias = self._parts(point.astype(self.dtype))
        if len(self.seen) == 2:  # the first of the two is where nothing adds
            weights, bias = np.pad(weights, ((0, 0), (1, 0))), np.pad(bias, (1, 0))
        return spread(weights, bias, seen=self.seen, num_classes=self.num_classes)

    def _precision(self) -> Any:
        return jax.enable_x64(self.dtype == np.float64)

    def _device(self) -> Any:
        local = jax.local_devices()[0]
        on_host = self.dtype == np.float64 and local.platform == "tpu"
        return jax.local_devices(backend="cpu")[0] if on_host else local


@jax.jit
def _loss_and_gradient(
    weights: Float[Array, "d c"],
    bias: Float[Array, " c"],
    l2: Float[Array, ""],
    count: Float[Array, ""],
    samples: Any,
) -> tuple[Array, Array, Array]:
    """The mean loss with its penalty, in nats, and its gradient."""
    one = weights.shape[1] == 1

    def step(sums: Any, block: tuple[Array, Array, Array]) -> tuple[Any, None]:
        x, place, real = block
        scores = _exact(x, weights) + bias[None]
        if one:
            scores = jnp.pad(scores, ((0, 0), (1, 0)))
        total = jax.nn.logsumexp(scores, axis=1, keepdims=True)
        own = jax.nn.one_hot(place, scores.shape[1], dtype=scores.dtype)
        loss = jnp.sum(real * (total[:, 0] - jnp.sum(own * scores, axis=1)))
        error = (jnp.exp(scores - total) - own) * real[:, None]
        error = error[:, 1:] if one else error
        return jax.tree.map(jnp.add, sums, (loss, _exact(x.T, error), error.sum(axis=0))), None

    zeros = (jnp.zeros((), weights.dtype), jnp.zeros_like(weights), jnp.zeros_like(bias))
    (loss, dweights, dbias), _ = jax.lax.scan(step, zeros, samples)
    penalty = l2 / 2 * jnp.sum(weights * weights)
    return loss / count + penalty, dweights / count + l2 * weights, dbias / count


def _blocks(x: np.ndarray, rows: int) -> np.ndarray:
    """Rows in blocks, zeros at the end."""
    missing = -len(x) % rows
    padded = np.pad(x, ((0, missing), *((0, 0) for _ in x.shape[1:])))
    return padded.reshape(-1, rows, *x.shape[1:])
