"""Blocks of BERT that also read an image, and that write: three modes over the same parameters."""

import functools
from typing import Any

from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.nn.attention import DecoderCache, Mask, SelfAttention
from vlp.nn.block import Block
from vlp.nn.cross_attention import CrossAttention
from vlp.nn.decoder import start_cache
from vlp.nn.linear import residual_std
from vlp.nn.norm import LayerNorm
from vlp.nn.stack import Stack, next_in_layers, repeated, through_layers
from vlp.settings import handing_on


class GroundingLayer(nnx.Module):
    """Cross-attention and its norm, and for writing a causal self-attention and its norm.

    Args:
        width, depth, num_heads: those of the stack.
        context_width: of the sequence that is read.
        writes: an attention and its norm of their own for writing, where the stack's looks at later
            tokens too. Without, the stack's own must be causal to write.
        norm_eps, attention, dtype: as in `vlp.nn.block.Block`.
    """

    def __init__(
        self,
        width: int,
        *,
        context_width: int,
        num_heads: int,
        depth: int,
        writes: bool,
        norm_eps: float = 1e-12,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        shared: dict[str, Any] = dict(
            num_heads=num_heads,
            out_std=residual_std(width, depth),
            implementation=attention,
            dtype=dtype,
            rngs=rngs,
        )
        self.cross = CrossAttention(width, context_width=context_width, **shared)
        self.norm_cross = LayerNorm(width, eps=norm_eps)
        self.writer = SelfAttention(width, causal=True, **shared) if writes else None
        self.norm_writer = LayerNorm(width, eps=norm_eps) if writes else None


class Grounding(nnx.Module):
    """What a stack of BERT's blocks lacks for reading an image, block by block.

    The stack itself stays where it is, with its attention, perceptrons and norms, and is given to
    every call: so one tower may encode text alone and, with this, text in front of an image.

    Args:
        width, depth: those of the stack.
        **settings: further keyword arguments of `GroundingLayer`.

    References:
        Li et al., 2022 (BLIP), https://arxiv.org/abs/2201.12086, section 3.1: encoder and decoder
        share all but the self-attention, with its norm in the authors' code.
    """

    @handing_on(GroundingLayer)
    def __init__(self, width: int, depth: int, *, rngs: nnx.Rngs, **settings: Any):
        make = functools.partial(GroundingLayer, width, depth=depth, **settings)
        self.blocks: Any = repeated(make, depth, rngs=rngs)

    def __call__(
        self,
        stack: Stack,
        x: Float[Array, "n l w"],
        *,
        context: Float[Array, "n s c"],
        mask: Mask | None,
        writing: bool = False,
    ) -> Float[Array, "n l w"]:
        """The sequence after all blocks.

        Args:
            stack: of post-norm blocks.
            x: what enters the first block.
            context: the sequence to read.
            mask: which tokens of `x` its own may see.
            writing: by the attention that sees no later token.
        """
        blocks = self._reading(stack, writing=writing)
        return through_layers(blocks, x, context, remat=stack.remat, unroll=stack.unroll, mask=mask)

    def start(self, stack: Stack, context: Float[Array, "n s c"], *, length: int) -> DecoderCache:
        """What is kept from token to token, before the first of `length` tokens."""
        attention = self._reading(stack, writing=True).attention
        return start_cache(self.blocks, attention=attention, context=context, length=length)

    def next(
        self,
        stack: Stack,
        x: Float[Array, "n 1 w"],
        cache: DecoderCache,
        *,
        position: Int[Array, ""],
    ) -> tuple[Float[Array, "n 1 w"], DecoderCache]:
        """One token more, and the cache with it; see `SelfAttention.next`."""
        blocks = self._reading(stack, writing=True)
        return next_in_layers(blocks, x, cache, unroll=stack.unroll, position=position)

    def _reading(self, stack: Stack, *, writing: bool) -> Block:
        """The stack's blocks, which read by what is here, and may write by it."""
        blocks, own = (nnx.merge(*nnx.split(each)) for each in (stack.blocks, self.blocks))
        blocks.cross, blocks.norm_cross = nnx.data(own.cross), own.norm_cross
        if writing and own.writer is not None:
            blocks.attention, blocks.norm1 = own.writer, own.norm_writer
        return blocks
