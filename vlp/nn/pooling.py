"""From a sequence of tokens to one vector."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vlp.nn.attention import Mask, check_heads, dot_product_attention
from vlp.nn.implementation import check_implementation
from vlp.nn.linear import Linear, normal_param
from vlp.nn.mlp import Mlp
from vlp.nn.norm import LayerNorm


def mean_pool(
    tokens: Float[Array, "n l w"], *, mask: Bool[Array, "n l"] | None = None
) -> Float[Array, "n w"]:
    """The mean over all tokens, or over those of the mask; zero where none is."""
    if mask is None:
        return jnp.mean(tokens, axis=1)
    share = mask.astype(tokens.dtype)
    count = jnp.maximum(jnp.sum(share, axis=1, keepdims=True), 1)
    return jnp.einsum("nlw,nl->nw", tokens, share / count)


def first_position(text: Int[Array, "n l"], token: int) -> Int[Array, " n"]:
    """Where each row holds the token for the first time; 0 where it never does."""
    return jnp.argmax(text == token, axis=1)


def take_token(tokens: Float[Array, "n l w"], position: Int[Array, " n"]) -> Float[Array, "n w"]:
    """One token of each row."""
    return jnp.take_along_axis(tokens, position[:, None, None], axis=1)[:, 0]


class AttentionPool(nnx.Module):
    """One learned query attends to all tokens, or to those of the mask, then a residual perceptron.

    References:
        Zhai et al., 2022, https://arxiv.org/abs/2106.04560 (the MAP head); used by SigLIP.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        mlp_dim: int | None = None,
        activation: str = "gelu",
        norm_eps: float = 1e-6,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        check_heads(width, num_heads)
        check_implementation(attention, dtype=dtype)
        self.num_heads, self.implementation = num_heads, attention
        std = width**-0.5
        kinds = dict(std=std, dtype=dtype, rngs=rngs)
        self.probe = normal_param(width, std=std, rngs=rngs)
        self.query = Linear(width, width, **kinds)
        self.key_value = Linear(width, 2 * width, **kinds)
        self.out = Linear(width, width, **kinds)
        self.norm = LayerNorm(width, eps=norm_eps)
        mlp_dim = mlp_dim or round(width * mlp_ratio)
        self.mlp = Mlp(width, mlp_dim, activation=activation, out_std=std, dtype=dtype, rngs=rngs)

    def __call__(
        self, tokens: Float[Array, "n l w"], *, mask: Mask | None = None
    ) -> Float[Array, "n w"]:
        n, length, w = tokens.shape
        head = (self.num_heads, w // self.num_heads)
        query = self.query(self.probe[...][None, None]).reshape(1, 1, *head)
        key_value = self.key_value(tokens).reshape(n, length, 2, *head)
        x = dot_product_attention(
            jnp.broadcast_to(query, (n, 1, *head)),
            key_value[:, :, 0],
            key_value[:, :, 1],
            mask=mask,
            implementation=self.implementation,
        )
        return self._behind(x.reshape(n, w))

    def alone(self, tokens: Float[Array, "n l w"]) -> Float[Array, "n l w"]:
        """Of each token what the pool gives for it alone: its value, whatever the query."""
        return self._behind(self.key_value.split(tokens, 2)[1])

    def _behind(self, seen: Float[Array, "*n w"]) -> Float[Array, "*n w"]:
        """The vector of what the query sees."""
        x = self.out(seen)
        return x + self.mlp(self.norm(x))
