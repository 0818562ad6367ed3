"""Logistic regression by L-BFGS: the minimum, and the way to it, that scikit-learn takes."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from scipy.optimize import minimize

from vlp.evals.probes.linear import Linear, places, spread

_HELD = 2**22  # scores at once
# As scikit-learn has them: evaluations of a step, and how little lower ends the search.
_TRIES, _FLAT = 50, 64 * np.finfo(np.float64).eps


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
        """A classifier for each weight of the penalty, each found from zero.

        Args:
          cs: One over these weights; larger fits closer.
          max_iter: Iterations at most.
          tolerance: Of the largest entry of the gradient, of the mean loss of a sample.
        """
        if len(self.seen) == 1:  # nothing to tell apart
            return [Fit(self._head(self._start), 0, True) for _ in cs]
        rows = max(1, min(self.count, _HELD // len(self.seen)))
        real = np.ones(self.count, self.dtype)
        samples = tuple(_blocks(each, rows) for each in (self._x, self._place, real))
        options = dict(maxiter=max_iter, maxls=_TRIES, gtol=tolerance, ftol=_FLAT)
        with jax.enable_x64(True):
            held = jax.device_put(samples, _device())

            def fitted(c: float) -> Fit:
                def value(point: np.ndarray) -> Any:
                    return jax.device_get(_loss(point, held, 1 / (c * self.count), self.columns))

                found = minimize(value, self._start, jac=True, method="L-BFGS-B", options=options)
                return Fit(self._head(found.x), int(found.nit), bool(found.success))

            return [fitted(float(c)) for c in cs]

    @property
    def _start(self) -> Float[np.ndarray, " p"]:
        return np.zeros((self.width + 1) * self.columns)

    def _head(self, point: Float[np.ndarray, " p"]) -> Linear:
        weights, bias = (each.astype(self.dtype) for each in _shaped(point, self.columns))
        if len(self.seen) == 2:  # the first of the two is where nothing adds
            weights, bias = np.pad(weights, ((0, 0), (1, 0))), np.pad(bias, (1, 0))
        return spread(weights, bias, seen=self.seen, num_classes=self.num_classes)


@partial(jax.jit, static_argnames="columns")
def _loss(
    point: Float[Array, " p"], samples: Any, l2: Float[Array, ""], columns: int
) -> tuple[Float[Array, ""], Float[Array, " p"]]:
    """The mean loss with its penalty, in nats, and its gradient; block by block."""

    def of_block(point: Array, block: tuple[Array, Array, Array]) -> Array:
        x, place, real = block
        weights, bias = (each.astype(x.dtype) for each in _shaped(point, columns))
        scores = jnp.matmul(x, weights, precision=jax.lax.Precision.HIGHEST) + bias[None]
        if columns == 1:
            scores = jnp.pad(scores, ((0, 0), (1, 0)))
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, place)
        return jnp.sum(real * losses, dtype=point.dtype)

    def step(sums: Any, block: Any) -> tuple[Any, None]:
        new = jax.value_and_grad(of_block)(point, block)
        return jax.tree.map(jnp.add, sums, new), None

    sums, _ = jax.lax.scan(step, (jnp.zeros((), point.dtype), jnp.zeros_like(point)), samples)
    loss, gradient = jax.tree.map(lambda total: total / samples[2].sum(dtype=point.dtype), sums)
    weights = point.at[-columns:].set(0)
    return loss + l2 / 2 * weights @ weights, gradient + l2 * weights


def _shaped(point: Any, columns: int) -> tuple[Any, Any]:
    """The weights `[d, columns]` and biases `[columns]` in a point."""
    return point[:-columns].reshape(-1, columns), point[-columns:]


def _device() -> Any:
    local = jax.local_devices()[0]
    return jax.local_devices(backend="cpu")[0] if local.platform == "tpu" else local


def _blocks(x: np.ndarray, rows: int) -> np.ndarray:
    """Rows in blocks, zeros at the end."""
    missing = -len(x) % rows
    padded = np.pad(x, ((0, missing), *((0, 0) for _ in x.shape[1:])))
    return padded.reshape(-1, rows, *x.shape[1:])
