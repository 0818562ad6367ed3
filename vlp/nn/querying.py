"""Blocks of BERT through which learned queries go beside the text, and read an image."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vlp.nn.attention import KeyValue, Mask
from vlp.nn.cross_attention import CrossAttention
from vlp.nn.linear import normal_param, residual_std
from vlp.nn.mlp import Mlp
from vlp.nn.norm import LayerNorm
from vlp.nn.stack import Stack, layer_of, repeated, through_layers


class Querying(nnx.Module):
    """What a stack of BERT's blocks lacks to be a Q-Former: queries, their perceptrons, and what
    they read by.

    The stack itself stays where it is and is given to every call: its self-attention is shared by
    queries and text, its perceptrons are the text's.

    Args:
        width, depth, num_heads, mlp_ratio, mlp_dim: those of the stack.
        num_queries: learned vectors.
        every: the first of so many blocks reads the image, by the queries alone.
        context_width: of what is read.
        activation, norm_eps, attention, dtype: as in `vlp.nn.block.Block`.

    Raises:
        ValueError: when the depth does not divide by `every`.

    References:
        Li et al., 2023 (BLIP-2), https://arxiv.org/abs/2301.12597, section 3.1 and figure 2.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        num_queries: int,
        every: int,
        context_width: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        mlp_dim: int | None = None,
        activation: str = "gelu",
        norm_eps: float = 1e-12,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        if every < 1 or depth % every:
            raise ValueError(
                f"cross_every must divide the depth {depth}, got {every}; 1 lets every block read"
            )
        self.num_queries, self.every, self.dtype = num_queries, every, dtype
        self.tokens = normal_param(num_queries, width, std=0.02, rngs=rngs)
        mlp_dim = mlp_dim or round(width * mlp_ratio)
        writing: Any = dict(out_std=residual_std(width, depth), dtype=dtype)
        reading: Any = dict(context_width=context_width, implementation=attention)

        def perceptron(rngs):
            mlp = Mlp(width, mlp_dim, activation=activation, **writing, rngs=rngs)
            return _Perceptron(mlp, LayerNorm(width, eps=norm_eps))

        def make(rngs):
            perceptrons = repeated(perceptron, every, rngs=rngs)
            cross = CrossAttention(width, num_heads, **reading, **writing, rngs=rngs)
            return _Unit(perceptrons, cross, LayerNorm(width, eps=norm_eps))

        self.blocks: Any = repeated(make, depth // every, rngs=rngs)

    def entering(
        self, norm: LayerNorm, text: Float[Array, "n l w"] | None = None, *, n: int
    ) -> Float[Array, "n t w"]:
        """What enters the first block: the queries of n rows, and behind them the text.

        Args:
            norm: of the text's embeddings, which is the queries' as well.
            text: embedded and normalised; none if not given.
            n: rows.
        """
        queries = norm(self.tokens[...]).astype(jnp.dtype(self.dtype))
        queries = jnp.broadcast_to(queries[None], (n, *queries.shape))
        return queries if text is None else jnp.concatenate([queries, text], axis=1)

    def __call__(
        self,
        stack: Stack,
        x: Float[Array, "n t w"],
        *,
        context: Float[Array, "n s c"],
        mask: Mask | None = None,
    ) -> Float[Array, "n t w"]:
        """Queries and text behind all blocks.

        Args:
            stack: of post-norm blocks.
            x: see `entering`.
            context: what the queries read.
            mask: which of `x` may see which.
        """
        unroll = max(1, stack.unroll // self.every)
        return through_layers(
            self._units(stack), x, context, remat=stack.remat, unroll=unroll, mask=mask
        )

    def start(
        self,
        stack: Stack,
        x: Float[Array, "n q w"],
        *,
        context: Float[Array, "n s c"],
        length: int,
    ) -> KeyValue:
        """Keys and values of the queries in all blocks, and room for those of `length` tokens.

        From there `Stack.next` takes the text token by token, as one that stands behind the
        queries.

        Args:
            stack, context: as in a call.
            x: the queries alone.
            length: of the text.
        """
        graphdef, units = nnx.split(self._units(stack))

        def through(x, unit):
            found: list[KeyValue] = []
            x = nnx.merge(graphdef, unit)(x, context, mask=None, found=found)
            return x, jax.tree.map(lambda *parts: jnp.stack(parts), *found)

        _, kept = jax.lax.scan(through, x, units)
        room = ((0, 0), (0, 0), (0, length), (0, 0), (0, 0))
        return jax.tree.map(lambda k: jnp.pad(k.reshape(-1, *k.shape[2:]), room), kept)

    def _units(self, stack: Stack) -> nnx.Module:
        """The blocks in units of which the first one reads: parameters `[units, every, ...]`."""
        graphdef, state = nnx.split(stack.blocks)
        units = jax.tree.map(lambda p: p.reshape(-1, self.every, *p.shape[1:]), state)
        return _Blocks(
            nnx.merge(graphdef, units), self.blocks, every=self.every, queries=self.num_queries
        )


class _Perceptron(nnx.Module):
    """That of the queries in one block, with its norm."""

    def __init__(self, mlp: Mlp, norm: LayerNorm):
        self.mlp, self.norm2 = mlp, norm

    def __call__(self, x: Float[Array, "n q w"]) -> Float[Array, "n q w"]:
        return self.norm2(x + self.mlp(x))


class _Unit(nnx.Module):
    """What the queries have of their own in a few blocks, of which the first one reads."""

    def __init__(self, perceptrons: Any, cross: CrossAttention, norm: LayerNorm):
        self.perceptrons, self.cross, self.norm_cross = perceptrons, cross, norm

    def __call__(
        self, x: Float[Array, "n q w"], context: Float[Array, "n s c"], *, place: int
    ) -> Float[Array, "n q w"]:
        """The queries behind a block's self-attention, read and thought over."""
        x = x if place else self.norm_cross(x + self.cross(x, context))
        return layer_of(self.perceptrons, place)(x)


class _Blocks(nnx.Module):
    """A few blocks: all attend to each other, and go on apart, the queries by way of the image."""

    def __init__(self, blocks: Any, unit: Any, *, every: int, queries: int):
        self.blocks, self.unit = blocks, unit
        self.every, self.queries = every, queries

    def __call__(
        self,
        x: Float[Array, "n t w"],
        context: Float[Array, "n s c"],
        *,
        mask: Mask | None,
        found: list[KeyValue] | None = None,
    ) -> Float[Array, "n t w"]:
        for place in range(self.every):
            block = layer_of(self.blocks, place)
            if found is not None:
                found.append(block.attention.keys(x))
            x = block.norm1(x + block.attention(x, mask=mask))
            queries, text = x[:, : self.queries], x[:, self.queries :]
            x = self.unit(queries, context, place=place)
            if text.shape[1]:
                x = jnp.concatenate([x, block.norm2(text + block.mlp(text))], axis=1)
        return x
