"""The transformer block, with its normalisation before or after what it normalises."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.nn.attention import DecoderCache, KeyValue, Mask, SelfAttention
from vlp.nn.cross_attention import CrossAttention
from vlp.nn.linear import residual_std
from vlp.nn.mlp import Mlp
from vlp.nn.norm import LayerNorm, last_axis
from vlp.settings import check_choice

NORM_ORDERS = ("pre", "post")


class Block(nnx.Module):
    """Attention and perceptron, each added to the residual stream.

    The layers that write to the stream start at `width**-0.5 * (2 depth)**-0.5`, so that the
    stream's variance does not grow with depth.

    Args:
        width: of the stream.
        mlp_dim: hidden width of the perceptron; None for attention alone.
        num_heads: attention heads.
        depth: blocks in the stack.
        causal: tokens look at earlier ones only.
        context_width: of a second sequence, which a post-norm block reads between attention and
            perceptron; None where there is none.
        activation: see `vlp.nn.mlp`.
        norm_eps: of the norms.
        norm_order: "pre": a LayerNorm in front of attention and perceptron; "post": behind each
            addition, as in BERT, so that the stream itself is normalised.
        layer_scale: start value of a learned factor on each channel of what is added to the stream
            (the parameters `attention_scale` and `mlp_scale`), or None for no such factors.
        attention: see `vlp.nn.attention.dot_product_attention`.
        dtype: of the matrix products.

    Raises:
        ValueError: when the order is unknown.

    References:
        Radford et al., 2021, https://arxiv.org/abs/2103.00020 (and its released code, for the
        initialisation); Xiong et al., 2020, https://arxiv.org/abs/2002.04745 (pre- and post-norm);
        Touvron et al., 2021, https://arxiv.org/abs/2103.17239 (layer scale); Li et al., 2021
        (ALBEF), https://arxiv.org/abs/2107.07651, section 3.1 (the second sequence).
    """

    def __init__(
        self,
        width: int,
        *,
        mlp_dim: int | None,
        num_heads: int,
        depth: int,
        causal: bool = False,
        context_width: int | None = None,
        activation: str = "gelu",
        norm_eps: float = 1e-6,
        norm_order: str = "pre",
        layer_scale: float | None = None,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        check_choice("norm_order", norm_order, NORM_ORDERS)
        self.norm_order = norm_order
        writing: Any = dict(out_std=residual_std(width, depth), dtype=dtype, rngs=rngs)
        attending: Any = dict(num_heads=num_heads, implementation=attention, **writing)
        self.norm1 = LayerNorm(width, eps=norm_eps)
        self.attention = SelfAttention(width, causal=causal, **attending)
        self.attention_scale = scale_factors(width, layer_scale)
        if context_width is None:
            self.cross: Any = None
        else:
            self.cross = CrossAttention(width, context_width=context_width, **attending)
            self.norm_cross = LayerNorm(width, eps=norm_eps)
        if mlp_dim is None:
            self.mlp: Any = None
        else:
            self.norm2 = LayerNorm(width, eps=norm_eps)
            self.mlp = Mlp(width, mlp_dim, activation=activation, **writing)
            self.mlp_scale = scale_factors(width, layer_scale)

    def __call__(
        self,
        x: Float[Array, "n l w"],
        context: Float[Array, "n s c"] | None = None,
        *,
        mask: Mask | None = None,
    ) -> Float[Array, "n l w"]:
        """The sequence behind the block; `mask` is of it, not of the context."""
        seen = self.attention(self._attending(x), mask=mask)
        return self._add(x, seen, None if self.cross is None else self.cross.keys(context))

    def alone(self, x: Float[Array, "n l w"]) -> Float[Array, "n l w"]:
        """The sequence behind the block, each token of which sees itself alone; without context."""
        return self._add(x, self.attention.alone(self._attending(x)), None)

    def next(
        self, x: Float[Array, "n 1 w"], cache: Any, *, position: Int[Array, ""]
    ) -> tuple[Float[Array, "n 1 w"], Any]:
        """One token more of a causal sequence, and the cache with it; see `SelfAttention.next`.

        The cache is a `KeyValue`, or a `DecoderCache` where a second sequence is read.
        """
        own, read = cache if isinstance(cache, DecoderCache) else (cache, None)
        seen, own = self.attention.next(self._attending(x), own, position=position)
        return self._add(x, seen, read), own if read is None else DecoderCache(own, read)

    def _attending(self, x: Float[Array, "n l w"]) -> Float[Array, "n l w"]:
        """What the attention is given."""
        return x if self.norm_order == "post" else self.norm1(x)

    def _add(
        self, x: Float[Array, "n l w"], seen: Float[Array, "n l w"], read: KeyValue | None
    ) -> Float[Array, "n l w"]:
        """The stream with what the attention saw, and behind what it reads and the perceptron."""
        post = self.norm_order == "post"
        x = x + scaled(seen, self.attention_scale)
        x = self.norm1(x) if post else x
        if read is not None:
            x = self.norm_cross(x + self.cross.read(x, read))
        if self.mlp is None:
            return x
        if post:
            return self.norm2(x + scaled(self.mlp(x), self.mlp_scale))
        return x + scaled(self.mlp(self.norm2(x)), self.mlp_scale)


def scale_factors(width: int, start: float | None) -> nnx.Param | None:
    """Layer scale: a factor for each channel, or None where there is no start value."""
    return None if start is None else nnx.Param(jnp.full((width,), start, jnp.float32))


def scaled(x: Float[Array, "n l w"], factors: nnx.Param | None) -> Float[Array, "n l w"]:
    """The vectors times their factors, where there are any."""
    return x if factors is None else x * last_axis(factors[...], x.ndim).astype(x.dtype)
