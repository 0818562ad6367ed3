"""BERT's blocks with a second sequence to read: where text meets image in ALBEF."""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from vlp.nn.attention import Mask, SelfAttention
from vlp.nn.cross_attention import CrossAttention
from vlp.nn.mlp import Mlp
from vlp.nn.norm import LayerNorm
from vlp.nn.stack import Layers


class FusionBlock(nnx.Module):
    """Attention to the own sequence, then to the context, then a perceptron; each is normalised
    after it was added, as in BERT.

    Args:
        width, mlp_dim, num_heads: sizes.
        context_width: of the sequence that is read.
        depth: blocks in the stack, for the initialisation as in `vlp.nn.block.Block`.
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
        norm_eps: float = 1e-12,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        out_std = width**-0.5 * (2 * depth) ** -0.5
        self.attention = SelfAttention(
            width, num_heads, out_std=out_std, implementation=attention, dtype=dtype, rngs=rngs
        )
        self.norm1 = LayerNorm(width, eps=norm_eps)
        self.cross = CrossAttention(
            width,
            num_heads,
            context_width=context_width,
            out_std=out_std,
            implementation=attention,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm_cross = LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(
            width, mlp_dim, activation=activation, out_std=out_std, dtype=dtype, rngs=rngs
        )
        self.norm2 = LayerNorm(width, eps=norm_eps)

    def __call__(
        self,
        x: Float[Array, "n l w"],
        *,
        context: Float[Array, "n s c"],
        mask: Mask | None = None,
    ) -> Float[Array, "n l w"]:
        x = self.norm1(x + self.attention(x, mask=mask))
        x = self.norm_cross(x + self.cross(x, context))
        return self.norm2(x + self.mlp(x))


class FusionStack(Layers):
    """A stack of fusion blocks.

    Args:
        width, depth: sizes.
        remat, unroll: as in `Layers`.
        **settings: further keyword arguments of `FusionBlock`.

    Raises:
        ValueError: as `Layers`.

    References:
        Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651, section 3.1.
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
            return FusionBlock(width, depth=depth, **settings, rngs=rngs)

        super().__init__(make, depth, remat=remat, unroll=unroll, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "n l w"],
        context: Float[Array, "n s c"],
        *,
        mask: Mask | None = None,
    ) -> Float[Array, "n l w"]:
        """The sequence after all blocks; `mask` is of it."""
        return self.through(x, context=context, mask=mask)
