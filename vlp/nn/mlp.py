"""The two-layer perceptron of a transformer block and its activations."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


def quick_gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x * sigmoid(1.702 x)`, the activation of OpenAI's CLIP weights."""
    return x * jax.nn.sigmoid(1.702 * x)


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The exact GELU, by the error function."""
    return jax.nn.gelu(x, approximate=False)


def gelu_tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The tanh form of GELU, as in SigLIP and big_vision."""
    return jax.nn.gelu(x, approximate=True)


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


class Mlp(nnx.Module):
    """Linear, activation, linear.

    Initialised as in CLIP: the first layer has standard deviation `(2 width) ** -0.5`, the second
    `out_std`, which the caller scales by depth.

    Raises:
        ValueError: when the activation is unknown.
    """

    def __init__(
        self,
        width: int,
        mlp_dim: int,
        *,
        activation: str = "gelu",
        out_std: float,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}"
            )
        self.activation = activation
        normal = nnx.initializers.normal
        kinds = dict(dtype=jnp.dtype(dtype), rngs=rngs)
        self.up = nnx.Linear(width, mlp_dim, kernel_init=normal((2 * width) ** -0.5), **kinds)
        self.down = nnx.Linear(mlp_dim, width, kernel_init=normal(out_std), **kinds)

    def __call__(self, x: Float[Array, "*batch w"]) -> Float[Array, "*batch w"]:
        return self.down(ACTIVATIONS[self.activation](self.up(x)))
