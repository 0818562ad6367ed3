"""Several learned queries that read a sequence: the attentional pooler of CoCa."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vlp.nn.cross_attention import CrossAttention
from vlp.nn.norm import LayerNorm


class QueryPool(nnx.Module):
    """What each of `num_queries` learned queries finds in a sequence of any length.

    Args:
        context_width: of the sequence.
        width: of queries and results.
        num_queries: how many.
        num_heads: attention heads.

    References:
        Yu et al., 2022 (CoCa), https://arxiv.org/abs/2205.01917, section 3.2; Lee et al., 2019,
        https://arxiv.org/abs/1810.00825.
    """

    def __init__(
        self,
        context_width: int,
        *,
        width: int,
        num_queries: int,
        num_heads: int,
        norm_eps: float = 1e-6,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        normal = nnx.initializers.normal(1.0)  # a norm follows
        self.queries = nnx.Param(normal(rngs.params(), (num_queries, width), jnp.float32))
        self.norm_query = LayerNorm(width, eps=norm_eps)
        self.norm_context = LayerNorm(context_width, eps=norm_eps)
        self.attention = CrossAttention(
            width,
            num_heads,
            context_width=context_width,
            out_std=width**-0.5,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, tokens: Float[Array, "n s c"]) -> Float[Array, "n q w"]:
        queries = self.norm_query(self.queries[...])[None]
        queries = jnp.broadcast_to(queries, (tokens.shape[0], *queries.shape[1:]))
        return self.attention(queries, self.norm_context(tokens))
