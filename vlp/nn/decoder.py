"""A stack of transformer blocks that read a second sequence: each attends to itself, then there."""

from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.nn.attention import DecoderCache, Mask, SelfAttention, empty_cache
from vlp.nn.block import Block
from vlp.nn.cross_attention import CrossBlock
from vlp.nn.stack import Layers
from vlp.settings import handing_on


class DecoderLayer(nnx.Module):
    """A causal block over the own sequence, then a block over the context.

    Args:
        width, mlp_dim: sizes.
        context_width: of the sequence that is read.
        mlp_between: whether a perceptron stands between the two attentions as well as behind them,
            as in open_clip. The decoder of Vaswani et al. has the latter only, and so has CoCa's,
            as the number of its parameters tells.
        **settings: further keyword arguments of `CrossBlock`.
    """

    @handing_on(CrossBlock)
    def __init__(
        self,
        width: int,
        *,
        context_width: int,
        mlp_dim: int,
        mlp_between: bool = True,
        **settings: Any,
    ):
        self.own = Block(width, mlp_dim=mlp_dim if mlp_between else None, causal=True, **settings)
        self.cross = CrossBlock(width, context_width=context_width, mlp_dim=mlp_dim, **settings)

    def __call__(
        self,
        x: Float[Array, "n l w"],
        context: Float[Array, "n s c"],
        *,
        mask: Mask | None = None,
    ) -> Float[Array, "n l w"]:
        return self.cross(self.own(x), context, mask=mask)

    def next(
        self, x: Float[Array, "n 1 w"], cache: DecoderCache, *, position: Int[Array, ""]
    ) -> tuple[Float[Array, "n 1 w"], DecoderCache]:
        """One token more, and the cache with it."""
        x, own = self.own.next(x, cache.own, position=position)
        return self.cross.read(x, cache.context), cache._replace(own=own)


class DecoderStack(Layers):
    """A stack of decoder layers; a mask given to it is of the context.

    References:
        Yu et al., 2022 (CoCa), https://arxiv.org/abs/2205.01917, table 1; Vaswani et al., 2017,
        https://arxiv.org/abs/1706.03762, section 3.1; Ilharco et al., open_clip,
        https://github.com/mlfoundations/open_clip.
    """

    block = DecoderLayer

    @handing_on(Layers, DecoderLayer)
    def __init__(self, width: int, depth: int, **settings: Any):
        super().__init__(width, depth, depth=depth, **settings)

    def start(self, context: Float[Array, "n s c"], *, length: int) -> DecoderCache:
        """What is kept from token to token, before the first of `length` tokens."""
        return start_cache(
            self.blocks, attention=self.blocks.own.attention, context=context, length=length
        )


def start_cache(
    layers: nnx.Module, *, attention: SelfAttention, context: Float[Array, "n s c"], length: int
) -> DecoderCache:
    """What layers with an attention `cross` keep before the first of `length` tokens.

    Args:
        layers: one whose parameters have a leading layer axis.
        attention: to the own sequence, with that axis.
        context: what is read.
        length: of the sequence.
    """
    graphdef, parts = nnx.split(layers)

    def keys(_, part):
        layer: Any = nnx.merge(graphdef, part)
        return None, layer.cross.keys(context)

    _, read = jax.lax.scan(keys, None, parts)
    depth, n = read.key.shape[:2]
    return DecoderCache(empty_cache(attention, depth=depth, n=n, length=length), read)
