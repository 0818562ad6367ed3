"""Blocks of BERT that also read an image, and that write: three modes over the same parameters."""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.nn.attention import Mask, SelfAttention
from vlp.nn.cross_attention import CrossAttention
from vlp.nn.decoder import DecoderCache, start_cache
from vlp.nn.norm import LayerNorm
from vlp.nn.stack import Stack, next_in_layers, repeated, through_layers


class Grounding(nnx.Module):
    """What a stack of BERT's blocks lacks for reading an image, block by block.

    The stack itself stays where it is, with its attention, perceptrons and norms, and is given to
    every call: so one tower may encode text alone and, with this, text in front of an image.

    Args:
        width, depth, num_heads: those of the stack.
        context_width: of the sequence that is read.
        writes: an attention and its norm of their own for writing, where the stack's looks at later
            tokens too. Without, the stack's own must be causal to write.
        norm_eps, attention, dtype: as in `vlp.nn.block.Block`.

    References:
        Li et al., 2022 (BLIP), https://arxiv.org/abs/2201.12086, section 3.1: encoder and decoder
        share all but the self-attention, with its norm in the authors' code.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        context_width: int,
        num_heads: int,
        writes: bool,
        norm_eps: float = 1e-12,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        def make(rngs):
            return GroundingLayer(
                width,
                context_width=context_width,
                num_heads=num_heads,
                depth=depth,
                writes=writes,
                norm_eps=norm_eps,
                attention=attention,
                dtype=dtype,
                rngs=rngs,
            )

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
        return through_layers(
            _Grounded(stack.blocks, self.blocks),
            x,
            remat=stack.remat,
            unroll=stack.unroll,
            context=context,
            mask=mask,
            writing=writing,
        )

    def start(self, stack: Stack, context: Float[Array, "n s c"], *, length: int) -> DecoderCache:
        """What is kept from token to token, before the first of `length` tokens."""
        attention = _Grounded(stack.blocks, self.blocks).attention(writing=True)
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
        blocks = _Grounded(stack.blocks, self.blocks)
        return next_in_layers(blocks, x, cache, unroll=stack.unroll, position=position)


class GroundingLayer(nnx.Module):
    """Cross-attention and its norm, and for writing a causal self-attention and its norm."""

    def __init__(
        self,
        width: int,
        *,
        context_width: int,
        num_heads: int,
        depth: int,
        writes: bool,
        norm_eps: float,
        attention: str,
        dtype: str,
        rngs: nnx.Rngs,
    ):
        shared: dict[str, Any] = dict(
            out_std=width**-0.5 * (2 * depth) ** -0.5,
            implementation=attention,
            dtype=dtype,
            rngs=rngs,
        )
        self.cross = CrossAttention(width, num_heads, context_width=context_width, **shared)
        self.norm_cross = LayerNorm(width, eps=norm_eps)
        self.writer = SelfAttention(width, num_heads, causal=True, **shared) if writes else None
        self.norm_writer = LayerNorm(width, eps=norm_eps) if writes else None


class _Grounded(nnx.Module):
    """A block of BERT and what it reads by: self-attention, cross-attention, perceptron."""

    def __init__(self, block: Any, reading: Any):
        self.block, self.reading = block, reading

    def __call__(
        self,
        x: Float[Array, "n l w"],
        *,
        context: Float[Array, "n s c"],
        mask: Mask | None,
        writing: bool,
    ) -> Float[Array, "n l w"]:
        seen = self.attention(writing=writing)(x, mask=mask)
        x = self._seen(x, seen, writing=writing)
        return self._read(x, self.reading.cross(x, context))

    def next(
        self, x: Float[Array, "n 1 w"], cache: DecoderCache, *, position: Int[Array, ""]
    ) -> tuple[Float[Array, "n 1 w"], DecoderCache]:
        """One token more, and the cache with it."""
        seen, own = self.attention(writing=True).next(x, cache.own, position=position)
        x = self._seen(x, seen, writing=True)
        x = self._read(x, self.reading.cross.read(x, cache.context))
        return x, cache._replace(own=own)

    def attention(self, *, writing: bool) -> SelfAttention:
        """The self-attention."""
        writer = self.reading.writer if writing else None
        return self.block.attention if writer is None else writer

    def _seen(self, x, seen, *, writing: bool):
        norm = self.reading.norm_writer if writing else None
        return (self.block.norm1 if norm is None else norm)(x + seen)

    def _read(self, x, read):
        x = self.reading.norm_cross(x + read)
        return self.block.norm2(x + self.block.mlp(x))
