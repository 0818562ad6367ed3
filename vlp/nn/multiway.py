"""Transformer blocks that images and texts share, with perceptrons of their own."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vlp.nn.attention import Mask, SelfAttention
from vlp.nn.block import scale_factors, scaled
from vlp.nn.linear import residual_std
from vlp.nn.mlp import Mlp
from vlp.nn.norm import LayerNorm
from vlp.nn.relative import Kinds, RelativePositions
from vlp.nn.stack import Layers
from vlp.settings import handing_on

# Whose perceptron takes how many tokens, from the first on.
Route = tuple[tuple[str, int], ...]


class Expert(nnx.Module):
    """The perceptron of one modality behind its own LayerNorm.

    Args:
        width: of the tokens.
        mlp_dim: hidden width.
        norm_eps: of the LayerNorm.
        **settings: further keyword arguments of `Mlp`.
    """

    def __init__(
        self, width: int, mlp_dim: int, *, norm_eps: float, rngs: nnx.Rngs, **settings: Any
    ):
        self.norm = LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width, mlp_dim, rngs=rngs, **settings)

    def __call__(self, x: Float[Array, "n l w"]) -> Float[Array, "n l w"]:
        return self.mlp(self.norm(x))


class MultiwayBlock(nnx.Module):
    """Attention that all tokens share, then the expert of each token; both added to the stream.

    Args:
        width, mlp_dim, num_heads: sizes.
        depth: blocks of the whole model, for the initialisation as in `vlp.nn.block.Block`.
        fused: whether there is an expert "pair" beside "image" and "text".
        relative: keyword arguments of `RelativePositions` but the heads, or None for no such bias.
        activation, norm_eps, layer_scale, attention, dtype: as in `Block`.
    """

    def __init__(
        self,
        width: int,
        *,
        mlp_dim: int,
        num_heads: int,
        depth: int,
        fused: bool,
        relative: Mapping[str, int] | None = None,
        activation: str = "gelu",
        norm_eps: float = 1e-6,
        layer_scale: float | None = None,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        shared: Any = dict(out_std=residual_std(width, depth), dtype=dtype, rngs=rngs)
        self.norm = LayerNorm(width, eps=norm_eps)
        self.attention = SelfAttention(width, num_heads, implementation=attention, **shared)
        self.relative = None if relative is None else RelativePositions(num_heads, **relative)

        def expert():
            return Expert(width, mlp_dim, norm_eps=norm_eps, activation=activation, **shared)

        self.image, self.text = expert(), expert()
        self.pair = expert() if fused else None
        self.attention_scale = scale_factors(width, layer_scale)
        self.mlp_scale = scale_factors(width, layer_scale)

    def __call__(
        self,
        x: Float[Array, "n l w"],
        *,
        route: Route,
        kinds: Kinds,
        mask: Mask | None = None,
    ) -> Float[Array, "n l w"]:
        bias = None if self.relative is None else self.relative(kinds)
        y = self.attention(self.norm(x), mask=mask, bias=bias)
        x = x + scaled(y, self.attention_scale)
        return x + scaled(self._experts(x, route), self.mlp_scale)

    def _experts(self, x: Float[Array, "n l w"], route: Route) -> Float[Array, "n l w"]:
        if len(route) == 1:
            return getattr(self, route[0][0])(x)
        parts, start = [], 0
        for name, count in route:
            parts.append(getattr(self, name)(x[:, start : start + count]))
            start += count
        return jnp.concatenate(parts, axis=1)


class MultiwayStack(Layers):
    """A stack of `count` multiway blocks."""

    block = MultiwayBlock

    @handing_on(Layers, MultiwayBlock)
    def __init__(self, width: int, count: int, **settings: Any):
        super().__init__(width, count, **settings)


class Multiway(nnx.Module):
    """`depth` blocks, of which the last have an expert for pairs, and a norm behind them.

    Images alone and texts alone go through their own experts all the way. A pair is one sequence,
    the text first: below block `fused_from` each token goes through the expert of its modality,
    from there on all go through that for pairs. The attention is the same in all of this.

    The lower and the upper blocks are two stacks, `lower` and `upper`.

    Args:
        width, depth: sizes.
        fused_from: the first block with an expert for pairs, counted from 0.
        norm_eps: of all norms.
        **settings: further keyword arguments of `MultiwayBlock` and `vlp.nn.stack.Layers`.

    Raises:
        ValueError: when `fused_from` leaves one of the stacks empty, or a setting is unknown or
            does not go with another.

    References:
        Bao et al., 2022 (VLMo), https://arxiv.org/abs/2111.02358, section 2.2, and its released
        code, https://github.com/microsoft/unilm/tree/master/vlmo. Followed, but that keys have a
        bias, which no softmax sees.
    """

    @handing_on(MultiwayStack, leaving=("fused",))
    def __init__(
        self, width: int, depth: int, *, fused_from: int, norm_eps: float = 1e-6, **settings: Any
    ):
        if not 0 < fused_from < depth:
            raise ValueError(
                f"fused_from must be at least 1 and less than depth {depth}, got {fused_from}; "
                f"try {max(depth - 2, 1)}"
            )
        self.depth = depth
        settings |= dict(depth=depth, norm_eps=norm_eps)
        self.lower = MultiwayStack(width, fused_from, fused=False, **settings)
        self.upper = MultiwayStack(width, depth - fused_from, fused=True, **settings)
        self.norm = LayerNorm(width, eps=norm_eps)

    def alone(
        self,
        x: Float[Array, "n l w"],
        *,
        expert: str,
        mask: Mask | None = None,
    ) -> Float[Array, "n l w"]:
        """The tokens of one modality behind all blocks.

        Args:
            x: what enters the first block.
            expert: "image" or "text".
            mask: which tokens a token may see; all if not given.
        """
        x = self.below(x, expert=expert, mask=mask)
        return self.above(x, expert=expert, modality=expert, mask=mask)

    def below(
        self,
        x: Float[Array, "n l w"],
        *,
        expert: str,
        mask: Mask | None = None,
    ) -> Float[Array, "n l w"]:
        """The tokens of one modality where the first block with an expert for pairs begins."""
        kinds = ((expert, x.shape[1]),)
        return self.lower(x, route=kinds, kinds=kinds, mask=mask)

    def above(
        self,
        x: Float[Array, "n l w"],
        *,
        expert: str,
        modality: str,
        mask: Mask | None = None,
    ) -> Float[Array, "n l w"]:
        """From the tokens of `below` to those behind all blocks.

        Args:
            x: what `below` returned.
            expert: that of the modality, or "pair".
            modality: "image" or "text".
            mask: which tokens a token may see; all if not given.
        """
        count = x.shape[1]
        route, kinds = ((expert, count),), ((modality, count),)
        return self.norm(self.upper(x, route=route, kinds=kinds, mask=mask))

    def together(
        self,
        text: Float[Array, "n l w"],
        image: Float[Array, "n t w"],
        *,
        mask: Bool[Array, "n l"],
    ) -> tuple[Float[Array, "n l w"], Float[Array, "n t w"]]:
        """The tokens of texts and images that were read as pairs, behind all blocks.

        Args:
            text, image: what enters the first block.
            mask: which tokens of the texts may be looked at.
        """
        length, patches = text.shape[1], image.shape[1]
        kinds = (("text", length), ("image", patches))
        mask = jnp.concatenate([mask, jnp.ones(image.shape[:2], bool)], axis=1)
        x = jnp.concatenate([text, image], axis=1)
        x = self.lower(x, route=kinds, kinds=kinds, mask=mask)
        route = (("pair", length + patches),)
        x = self.norm(self.upper(x, route=route, kinds=kinds, mask=mask))
        return x[:, :length], x[:, length:]

    def hidden_states(
        self,
        x: Float[Array, "n l w"],
        *,
        expert: str,
        mask: Mask | None = None,
    ) -> Float[Array, "states n l w"]:
        """The input of the first block and the output of each, of one modality alone."""
        kinds = ((expert, x.shape[1]),)
        inputs: dict[str, Any] = dict(route=kinds, kinds=kinds, mask=mask)
        lower = self.lower.outputs(x, **inputs)
        upper = self.upper.outputs(lower[-1], **inputs)
        return jnp.concatenate([x[None], lower, upper])
