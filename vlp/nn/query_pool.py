"""Learned queries that read a sequence: the attentional poolers of CoCa."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vlp.nn.attention import Mask
from vlp.nn.cross_attention import CrossAttention
from vlp.nn.linear import normal_param
from vlp.nn.norm import LayerNorm
from vlp.settings import handing_on


class QueryPool(nnx.Module):
    """What each of `num_queries` learned queries finds in a sequence of any length.

    Args:
        context_width: of the sequence.
        width: of queries and results.
        num_queries: how many.
        num_heads: attention heads.
        attention: see `vlp.nn.attention.dot_product_attention`.

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
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        self.queries = normal_param(num_queries, width, std=1.0, rngs=rngs)  # a norm follows
        self.norm_query = LayerNorm(width, eps=norm_eps)
        self.norm_context = LayerNorm(context_width, eps=norm_eps)
        self.attention = CrossAttention(
            width,
            num_heads,
            context_width=context_width,
            out_std=width**-0.5,
            implementation=attention,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(
        self, tokens: Float[Array, "n s c"], *, mask: Mask | None = None
    ) -> Float[Array, "n q w"]:
        queries = self.norm_query(self.queries[...])[None]
        queries = jnp.broadcast_to(queries, (tokens.shape[0], *queries.shape[1:]))
        return self.attention(queries, self.norm_context(tokens), mask=mask)


class TwoQueryPools(nnx.Module):
    """What one query finds, and behind it what each of `num_queries` others finds; `[n, 1 + q, w]`.

    The others are CoCa's generative pooler, whose results a decoder reads, the one is its
    contrastive pooler, for the embedding of the whole.

    Args:
        context_width, width: as in `QueryPool`.
        num_queries: the others.
        cascade: whether the one query reads what the others found, in place of the sequence.
        **settings: further keyword arguments of `QueryPool`.

    References:
        Yu et al., 2022 (CoCa), https://arxiv.org/abs/2205.01917, section 3.2: an attention of its
        own for each, 256 queries and 1; section 4.3: "cascade" and "parallel", of which all models
        of the paper are the former (figure 2 draws the latter). The paper does not say where
        norms stand: here in front of each attention, and the caller's behind both.
    """

    @handing_on(QueryPool)
    def __init__(
        self, context_width: int, *, width: int, num_queries: int, cascade: bool, **settings: Any
    ):
        self.cascade = cascade
        settings["width"] = width
        self.generative = QueryPool(context_width, num_queries=num_queries, **settings)
        self.contrastive = QueryPool(width if cascade else context_width, num_queries=1, **settings)

    def __call__(self, tokens: Float[Array, "n s c"]) -> Float[Array, "n q w"]:
        found = self.generative(tokens)
        return jnp.concatenate([self.contrastive(found if self.cascade else tokens), found], axis=1)
