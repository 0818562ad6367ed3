"""A stack of transformer blocks that read a second sequence: each attends to itself, then there."""

from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.nn.attention import KeyValue, Mask, SelfAttention, empty_cache
from vlp.nn.block import Block
from vlp.nn.cross_attention import CrossBlock
from vlp.nn.stack import Layers, next_in_layers


class DecoderCache(NamedTuple):
    """What a decoder keeps from token to token.

    Attributes:
        own: of the sequence itself.
        context: of what it reads.
    """

    own: KeyValue
    context: KeyValue


class DecoderLayer(nnx.Module):
    """A causal block over the own sequence, then a block over the context.

    Args:
        width, mlp_dim, num_heads: sizes.
        context_width: of the sequence that is read.
        depth: layers in the stack, for the initialisation as in `vlp.nn.block.Block`.
        mlp_between: whether a perceptron stands between the two attentions as well as behind them,
            as in open_clip. The decoder of Vaswani et al. has the latter only, and so has CoCa's,
            as the number of its parameters tells.
        activation, norm_eps, attention, dtype: as in `Block`.
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
        mlp_between: bool = True,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        shared: dict[str, Any] = dict(
            num_heads=num_heads,
            depth=depth,
            activation=activation,
            norm_eps=norm_eps,
            attention=attention,
            dtype=dtype,
            rngs=rngs,
        )
        self.own = Block(width, mlp_dim=mlp_dim if mlp_between else None, causal=True, **shared)
        self.cross = CrossBlock(width, context_width=context_width, mlp_dim=mlp_dim, **shared)

    def __call__(
        self,
        x: Float[Array, "n l w"],
        *,
        context: Float[Array, "n s c"],
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
    """A stack of decoder layers.

    Args:
        width, depth: sizes.
        remat, unroll: as in `Layers`.
        **settings: further keyword arguments of `DecoderLayer`.

    Raises:
        ValueError: as `Layers`.

    References:
        Yu et al., 2022 (CoCa), https://arxiv.org/abs/2205.01917, table 1; Vaswani et al., 2017,
        https://arxiv.org/abs/1706.03762, section 3.1; Ilharco et al., open_clip,
        https://github.com/mlfoundations/open_clip.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        remat: str = "none",
        unroll: int = 1,
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        def make(rngs):
            return DecoderLayer(width, depth=depth, **settings, rngs=rngs)

        super().__init__(make, depth, remat=remat, unroll=unroll, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "n l w"],
        context: Float[Array, "n s c"],
        *,
        mask: Mask | None = None,
    ) -> Float[Array, "n l w"]:
        """The sequence after all layers; `mask` is of the context."""
        return self.through(x, context=context, mask=mask)

    def start(self, context: Float[Array, "n s c"], *, length: int) -> DecoderCache:
        """What is kept from token to token, before the first of `length` tokens."""
        return start_cache(
            self.blocks, attention=self.blocks.own.attention, context=context, length=length
        )

    def next(
        self, x: Float[Array, "n 1 w"], cache: DecoderCache, *, position: Int[Array, ""]
    ) -> tuple[Float[Array, "n 1 w"], DecoderCache]:
        """One token more, and the cache with it; see `SelfAttention.next`."""
        return next_in_layers(self.blocks, x, cache, unroll=self.unroll, position=position)


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
