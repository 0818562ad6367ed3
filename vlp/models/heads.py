"""What turns tokens into predictions."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vlp.nn.linear import Linear, normal_param
from vlp.nn.mlp import gelu
from vlp.nn.norm import LayerNorm
from vlp.nn.vocabulary import Words


class TokenHead(nnx.Module):
    """BERT's language modelling head: the logits are products with the embedding table.

    Args:
        width: of the tokens.
        vocab_size: how many logits.
        tied: whether it multiplies with the embedding table; else with a table of its own.
        dtype: of the products.

    References:
        Devlin et al., 2019, https://arxiv.org/abs/1810.04805, and its released code.
    """

    def __init__(
        self,
        width: int,
        *,
        vocab_size: int,
        tied: bool = True,
        norm_eps: float = 1e-12,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        self.transform = Linear(width, width, std=0.02, dtype=dtype, rngs=rngs)
        self.norm = LayerNorm(width, eps=norm_eps)
        self.bias = nnx.Param(jnp.zeros((vocab_size,), jnp.float32))
        self.table: Any = None if tied else normal_param(vocab_size, width, std=0.02, rngs=rngs)

    def __call__(self, tokens: Float[Array, "n l w"], table: Float[Array, "v w"]) -> Words:
        """The words from tokens and the embedding table of the vocabulary, which a head with a
        table of its own leaves alone."""
        table = table if self.table is None else self.table[...]
        x = self.norm(gelu(self.transform(tokens)))
        return Words(x, table.T, self.bias[...])
