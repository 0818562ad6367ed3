"""Layer normalisation in float32, whatever the compute dtype around it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class LayerNorm(nnx.Module):
    """Normalises the last axis, then scales and shifts; statistics in float32.

    References:
        Ba et al., 2016, https://arxiv.org/abs/1607.06450.
    """

    def __init__(self, width: int, *, eps: float = 1e-6):
        self.scale = nnx.Param(jnp.ones((width,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((width,), jnp.float32))
        self.eps = eps

    def __call__(self, x: Float[Array, "*batch w"]) -> Float[Array, "*batch w"]:
        y = x.astype(jnp.float32)
        y = y - jnp.mean(y, axis=-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + self.eps)
        return (y * last_axis(self.scale[...], x.ndim) + last_axis(self.bias[...], x.ndim)).astype(
            x.dtype
        )


def last_axis(vector: Float[Array, " w"], ndim: int) -> Float[Array, "..."]:
    """The vector as an array of rank `ndim`, ready to broadcast against a last axis."""
    return vector.reshape((1,) * (ndim - 1) + (-1,))
