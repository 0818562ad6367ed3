"""BERT's blocks with a second sequence to read: where text meets image in ALBEF."""

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float

from vlp.nn.attention import SelfAttention
from vlp.nn.cross_attention import CrossAttention
from vlp.nn.mlp import Mlp
from vlp.nn.norm import LayerNorm
from vlp.nn.stack import check_stack, through_layers


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
        present: Bool[Array, "n l"] | None = None,
    ) -> Float[Array, "n l w"]:
        x = self.norm1(x + self.attention(x, present=present))
        x = self.norm_cross(x + self.cross(x, context))
        return self.norm2(x + self.mlp(x))


class FusionStack(nnx.Module):
    """`depth` fusion blocks run by `jax.lax.scan`; every parameter of `blocks` is `[depth, ...]`.

    Args:
        width, depth, mlp_dim, num_heads: sizes.
        context_width: of the sequence that is read.
        activation, norm_eps, attention, dtype: as in `FusionBlock`.
        remat, unroll: as in `vlp.nn.stack.Stack`.

    Raises:
        ValueError: when `remat` is unknown or `depth` or `unroll` is under 1.

    References:
        Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651, section 3.1.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        context_width: int,
        mlp_dim: int,
        num_heads: int,
        activation: str = "gelu",
        norm_eps: float = 1e-12,
        attention: str = "einsum",
        remat: str = "none",
        unroll: int = 1,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        check_stack(depth, remat=remat, unroll=unroll)
        self.remat, self.unroll = remat, min(unroll, depth)

        @nnx.vmap
        def make(key):
            return FusionBlock(
                width,
                context_width=context_width,
                mlp_dim=mlp_dim,
                num_heads=num_heads,
                depth=depth,
                activation=activation,
                norm_eps=norm_eps,
                attention=attention,
                dtype=dtype,
                rngs=nnx.Rngs(key),
            )

        self.blocks = make(jax.random.split(rngs.params(), depth))

    def __call__(
        self,
        x: Float[Array, "n l w"],
        context: Float[Array, "n s c"],
        *,
        present: Bool[Array, "n l"] | None = None,
    ) -> Float[Array, "n l w"]:
        """The sequence after all blocks; `present` hides tokens of it."""
        return through_layers(
            self.blocks,
            x,
            remat=self.remat,
            unroll=self.unroll,
            context=context,
            present=present,
        )
