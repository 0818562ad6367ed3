"""Attention from one sequence to another."""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from vlp.nn.attention import (
    KeyValue,
    Mask,
    check_heads,
    check_implementation,
    dot_product_attention,
)
from vlp.nn.linear import Linear, residual_std
from vlp.nn.mlp import Mlp
from vlp.nn.norm import LayerNorm


class CrossAttention(nnx.Module):
    """Multi-head attention: queries from `x`, keys and values from `context`.

    `key_value.kernel` is `[context width, 2 w]`: the columns are key, value, each
    `[heads, head width]` in row order.

    Args:
        width: of `x` and of all heads together.
        num_heads: attention heads.
        context_width: of the context; `width`, if not given.
        out_width: of the result; `width`, if not given.
        out_std: standard deviation of the output matrix at the start.
        implementation: see `vlp.nn.attention.dot_product_attention`.
        dtype: of the matrix products.

    Raises:
        ValueError: when the width does not divide by the heads or the implementation is unknown.

    References:
        Vaswani et al., 2017, https://arxiv.org/abs/1706.03762, section 3.2.3.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        context_width: int | None = None,
        out_width: int | None = None,
        out_std: float,
        implementation: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        check_heads(width, num_heads)
        check_implementation(implementation)
        context_width = context_width or width
        self.num_heads = num_heads
        self.implementation = implementation
        self.query = Linear(width, width, std=width**-0.5, dtype=dtype, rngs=rngs)
        self.key_value = Linear(
            context_width, 2 * width, std=context_width**-0.5, dtype=dtype, rngs=rngs
        )
        self.out = Linear(width, out_width or width, std=out_std, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "n q w"],
        context: Float[Array, "n s c"],
        *,
        mask: Mask | None = None,
    ) -> Float[Array, "n q o"]:
        """What each query finds.

        Args:
            x: the queries' sequence.
            context: the sequence to look at.
            mask: which tokens of the context a query may see.
        """
        return self.read(x, self.keys(context), mask=mask)

    def keys(self, context: Float[Array, "n s c"]) -> KeyValue:
        """The context's keys and values, for any number of `read`."""
        n, s, _ = context.shape
        both = self.key_value.split(context, 2)
        return KeyValue(*(part.reshape(n, s, self.num_heads, -1) for part in both))

    def read(
        self, x: Float[Array, "n q w"], context: KeyValue, *, mask: Mask | None = None
    ) -> Float[Array, "n q o"]:
        """What each query finds in a context of which keys and values are known."""
        n, q, w = x.shape
        y = dot_product_attention(
            self.query(x).reshape(n, q, self.num_heads, -1),
            *context,
            mask=mask,
            implementation=self.implementation,
        )
        return self.out(y.reshape(n, q, w))


class CrossBlock(nnx.Module):
    """A pre-norm transformer block whose attention looks at another sequence.

    Args:
        width, mlp_dim, num_heads: sizes.
        context_width: of the other sequence, which has a norm of its own.
        depth: blocks in the stack; matrices that write to the residual stream begin as much smaller
            as CLIP's do.
        activation, norm_eps, attention, dtype: as in `vlp.nn.block.Block`.
    """

    def __init__(
        self,
        width: int,
        *,
        context_width: int,
        mlp_dim: int,
        num_heads: int,
        depth: int,
        activation: str = "gelu",
        norm_eps: float = 1e-6,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        writing: Any = dict(out_std=residual_std(width, depth), dtype=dtype, rngs=rngs)
        self.norm1 = LayerNorm(width, eps=norm_eps)
        self.norm_context = LayerNorm(context_width, eps=norm_eps)
        self.attention = CrossAttention(
            width, num_heads, context_width=context_width, implementation=attention, **writing
        )
        self.norm2 = LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width, mlp_dim, activation=activation, **writing)

    def __call__(
        self,
        x: Float[Array, "n q w"],
        context: Float[Array, "n s c"],
        *,
        mask: Mask | None = None,
    ) -> Float[Array, "n q w"]:
        return self.read(x, self.keys(context), mask=mask)

    def keys(self, context: Float[Array, "n s c"]) -> KeyValue:
        """The context's keys and values, for any number of `read`."""
        return self.attention.keys(self.norm_context(context))

    def read(
        self,
        x: Float[Array, "n q w"],
        context: KeyValue,
        *,
        mask: Mask | None = None,
    ) -> Float[Array, "n q w"]:
        """The block over a context of which keys and values are known."""
        x = x + self.attention.read(self.norm1(x), context, mask=mask)
        return x + self.mlp(self.norm2(x))
