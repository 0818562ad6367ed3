"""Batch normalisation, whose running statistics live beside the parameters."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vlp.nn.norm import last_axis

MOMENTUM = 0.1


class BatchNorm(nnx.Module):
    """Normalises each channel over examples and places, then scales and shifts; in float32.

    The running `mean` and `variance` are variables of their own kind (`nnx.BatchStat`), ordinary
    arrays of the model's state otherwise. Evaluation normalises by them. Training normalises by the
    statistics of the batch it is given, under `jax.jit` of the global one on all devices, and moves
    the running ones a tenth of the way towards them.

    `frozen`, set from outside, makes training normalise as evaluation does and move nothing.

    Args:
        channels: how many there are.
        init_scale: of every channel at the start.
        eps: added to the variance.

    References:
        Ioffe & Szegedy, 2015, https://arxiv.org/abs/1502.03167.
    """

    def __init__(self, channels: int, *, init_scale: float = 1.0, eps: float = 1e-5):
        self.scale = nnx.Param(jnp.full((channels,), init_scale, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros((channels,), jnp.float32))
        self.variance = nnx.BatchStat(jnp.ones((channels,), jnp.float32))
        self.eps = eps
        self.frozen = False

    def __call__(
        self,
        x: Float[Array, "n h w c"],
        *,
        train: bool = False,
        present: Bool[Array, " n"] | None = None,
    ) -> Float[Array, "n h w c"]:
        """The normalised channels.

        Args:
            x: an image's or a feature map's channels last.
            train: normalise by the batch and move the running statistics.
            present: which examples count in the statistics of a batch; all, if not given.
        """
        y = x.astype(jnp.float32)
        if train and not self.frozen:
            mean, variance, count = moments(y, present=present)
            self._move(mean, variance, count)
        else:
            mean, variance = self.mean[...], self.variance[...]
        factor = self.scale[...] * jax.lax.rsqrt(variance + self.eps)
        shift = self.bias[...] - mean * factor
        return (y * last_axis(factor, 4) + last_axis(shift, 4)).astype(x.dtype)

    def _move(self, mean, variance, count):
        """A step of the running statistics; the variance without bias, as an estimate beyond the
        batch. A batch of nothing moves nothing."""
        rate = jnp.where(count > 1, MOMENTUM, 0.0)
        unbiased = variance * (count / jnp.maximum(count - 1, 1))
        self.mean[...] = self.mean[...] + rate * (mean - self.mean[...])
        self.variance[...] = self.variance[...] + rate * (unbiased - self.variance[...])


def moments(
    x: Float[Array, "n h w c"], *, present: Bool[Array, " n"] | None
) -> tuple[Float[Array, " c"], Float[Array, " c"], Float[Array, ""]]:
    """Mean and variance of each channel over the examples present, and how many values that is."""
    n, h, w, _ = x.shape
    weight = jnp.ones((n,), jnp.float32) if present is None else present.astype(jnp.float32)
    count = jnp.sum(weight) * (h * w)
    weight = weight.reshape(n, 1, 1, 1) / jnp.maximum(count, 1)
    mean = jnp.sum(x * weight, axis=(0, 1, 2))
    variance = jnp.sum(jnp.square(x - last_axis(mean, 4)) * weight, axis=(0, 1, 2))
    return mean, variance, count


def learns_statistics(model: Any) -> bool:
    """Whether a model holds batch norms whose statistics training moves."""
    return any(isinstance(m, BatchNorm) and not m.frozen for _, m in nnx.iter_modules(model))


def statistics(model: Any) -> dict[Any, Any]:
    """The running statistics of a model, a nested dict with the names of its state."""
    return nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
