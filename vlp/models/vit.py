"""The vision transformer tower."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from vlp.nn.linear import Linear, normal_param
from vlp.nn.norm import LayerNorm
from vlp.nn.patches import PatchEmbedding, check_pixels, extract_patches, kept_patches
from vlp.nn.pooling import AttentionPool, mean_pool
from vlp.nn.positions import sincos_2d
from vlp.nn.query_pool import QueryPool, TwoQueryPools
from vlp.nn.stack import Stack
from vlp.settings import check_choice, handing_on, settings_for

# Several learned queries attend: the first token that leaves them is the pooled one.
QUERY_POOLS: dict[str, Callable[..., Any]] = {
    "queries": QueryPool,
    "cascade": functools.partial(TwoQueryPools, cascade=True),
    "parallel": functools.partial(TwoQueryPools, cascade=False),
}
POOLS = ("cls", "mean", "map", *QUERY_POOLS)
POSITIONS = ("learned", "sincos2d")


class VisionTransformer(nnx.Module):
    """Patches through a transformer to one vector an image.

    Args:
        image_size: pixels along each side. What is left over at the right and lower edge where it
            does not divide by `patch_size` is not looked at (SigLIP So400m/14 at 384).
        pool: "cls" (a learned class token), "mean" (over the patches), "map" (attention pooling),
            "queries" (several learned queries attend: the first gives the pooled vector, all of
            them are the tokens, as in open_clip's CoCa), or "cascade" or "parallel" (one query with
            an attention of its own gives the pooled vector, which is the first token, others the
            further tokens, as in CoCa's paper; see `TwoQueryPools`).
        queries: for the last three, `width`, `num_queries` and `num_heads` of their module.
        class_token: whether there is a class token; None means where `pool` needs it. "mean"
            and "map" leave it out, queries attend to it.
        position: "learned" or "sincos2d" (fixed; the class token then has none).
        pre_norm: a LayerNorm in front of the first block, as in CLIP.
        norm_after_pool: the final LayerNorm is applied to the pooled vector and not to the tokens,
            as in CLIPA.
        pooler: a linear layer and tanh behind the pooled vector, as in BERT.
        patch_bias: whether the patch embedding has a bias (CLIP: no, SigLIP: yes).
        norm_eps: of all norms.
        dtype: of the matrix products and the residual stream; parameters stay float32.
        **settings: further keyword arguments of `vlp.nn.stack.Stack`.

    Raises:
        ValueError: when a setting is unknown or sizes do not divide.

    References:
        Dosovitskiy et al., 2021, https://arxiv.org/abs/2010.11929.
    """

    @handing_on(Stack, leaving=("causal", "context_width", "norm_order"))
    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        pool: str = "cls",
        queries: dict[str, int] | None = None,
        class_token: bool | None = None,
        position: str = "learned",
        pre_norm: bool = False,
        norm_after_pool: bool = False,
        pooler: bool = False,
        patch_bias: bool = True,
        norm_eps: float = 1e-6,
        dtype: str = "float32",
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        class_token = pool == "cls" if class_token is None else class_token
        _check(image_size, patch_size, pool, position, class_token)
        _check_queries(pool, queries)
        self.image_size, self.patch_size, self.stream_width = image_size, patch_size, width
        self.num_patches = (image_size // patch_size) ** 2
        self.pool, self.position, self.dtype = pool, position, dtype
        self.norm_after_pool = norm_after_pool
        self.patches = PatchEmbedding(patch_size, width, bias=patch_bias, dtype=dtype, rngs=rngs)
        table = functools.partial(normal_param, std=width**-0.5, rngs=rngs)
        self.class_token = table(width) if class_token else None
        count = self.num_patches + class_token
        self.positions = table(count, width) if position == "learned" else None
        self.pre_norm = LayerNorm(width, eps=norm_eps) if pre_norm else None
        settings |= dict(norm_eps=norm_eps, dtype=dtype, rngs=rngs)
        self.stack = Stack(width, depth, **settings)
        head: Any = None
        if pool == "map":
            head = AttentionPool(width, **settings_for(AttentionPool, settings))
        elif queries is not None:
            head = QUERY_POOLS[pool](width, **settings_for(QueryPool, settings) | queries)
        self.head = head
        self.width = width if queries is None else queries["width"]
        self.norm = LayerNorm(self.width, eps=norm_eps)
        self.pooler = Linear(self.width, self.width, std=width**-0.5, rngs=rngs) if pooler else None

    def __call__(
        self,
        pixels: Float[Array, "n h w 3"],
        *,
        keys: Key[Array, " n"] | None = None,
        patch_drop: float = 0.0,
        stack: Stack | None = None,
    ) -> tuple[Float[Array, "n f"], Float[Array, "n t f"]]:
        """The pooled vectors and the normalised tokens (class token first, where there is one).

        With `norm_after_pool` the tokens are those of the last block as they are.

        Args:
            pixels: normalised pixels.
            keys: one random key an example, needed when `patch_drop` is over 0.
            patch_drop: share of patches left out, of each image others (FLIP). Training only.
            stack: blocks of another tower in place of its own.

        Raises:
            ValueError: when the image size or the share does not fit, or keys are missing.
        """
        x = self.embed(pixels, keys=keys, patch_drop=patch_drop)
        tokens = (stack or self.stack)(x)
        if self.pool in QUERY_POOLS:
            tokens = self.head(tokens)
        if not self.norm_after_pool:
            tokens = self.norm(tokens)
        return self._pooled(self._pool(tokens)), tokens

    def hidden_states(self, pixels: Float[Array, "n h w 3"]) -> Float[Array, "states n t f"]:
        """The input of the first block and the output of each, none of them normalised."""
        return self.stack.hidden_states(self.embed(pixels))

    def patch_vectors(
        self, pixels: Float[Array, "n h w 3"], *, last_alone: bool = False
    ) -> Float[Array, "n p f"]:
        """Of each patch what the tower would pool if its token were all that there is to pool.

        By a class token or a mean that is the token itself, normalised; by attention pooling
        ("map") what the head makes of its value.

        Args:
            pixels: normalised pixels.
            last_alone: in the last block each token sees itself alone, and so adds its own value
                in place of the mixture that it would attend to.

        Raises:
            ValueError: learned queries pool, or the image size does not fit.

        References:
            Zhou et al., 2022 (MaskCLIP), https://arxiv.org/abs/2112.01071, section 3.2, and its
            released code, which leaves the residual connections and the last perceptron in place.
        """
        if self.pool in QUERY_POOLS:
            raise ValueError(
                f'pool must be "cls", "mean" or "map" for vectors of patches, got {self.pool!r}, '
                "whose learned queries read all of them together; take another model"
            )
        x = self.embed(pixels)
        tokens = self.stack.last_alone(x) if last_alone else self.stack(x)
        if not self.norm_after_pool:
            tokens = self.norm(tokens)
        patches = tokens if self.class_token is None else tokens[:, 1:]
        if self.pool == "map":
            patches = self.head.alone(patches)
        return self._pooled(patches)

    def embed(
        self,
        pixels: Float[Array, "n h w 3"],
        *,
        keys: Key[Array, " n"] | None = None,
        patch_drop: float = 0.0,
    ) -> Float[Array, "n t f"]:
        """What enters the first block: embedded patches with positions; arguments as in a call."""
        check_pixels(pixels, self.image_size)
        patches = extract_patches(pixels, self.patch_size)
        class_position, positions = self._positions()
        positions = positions[None]
        if patch_drop:
            kept = self._kept(keys, patch_drop)
            # Gathered before the embedding, so that dropped patches cost nothing at all.
            patches = jnp.take_along_axis(patches, kept[:, :, None], axis=1)
            positions = positions[0][kept]
        x = self.patches(patches).astype(jnp.float32) + positions
        if self.class_token is not None:
            first = self.class_token[...] + class_position
            first = jnp.broadcast_to(first[None, None], (x.shape[0], 1, self.stream_width))
            x = jnp.concatenate([first, x], axis=1)
        if self.pre_norm is not None:
            x = self.pre_norm(x)
        return x.astype(jnp.dtype(self.dtype))

    def _positions(self) -> tuple[Float[Array, " f"], Float[Array, "p f"]]:
        if self.positions is None:
            side = self.image_size // self.patch_size
            width = self.stream_width
            return jnp.zeros((width,), jnp.float32), sincos_2d(side, side, width)
        table = self.positions[...]
        return table[0], table[-self.num_patches :]

    def _kept(self, keys, patch_drop):
        if not 0 < patch_drop < 1:
            raise ValueError(f"patch_drop must be in [0, 1), got {patch_drop}")
        if keys is None:
            raise ValueError(f"patch_drop {patch_drop} needs keys: one random key an example")
        return kept_patches(keys, num_patches=self.num_patches, patch_drop=patch_drop)

    def _pooled(self, vectors: Float[Array, "*n f"]) -> Float[Array, "*n f"]:
        """Behind the pooling."""
        if self.norm_after_pool:
            vectors = self.norm(vectors)
        return vectors if self.pooler is None else jnp.tanh(self.pooler(vectors))

    def _pool(self, tokens: Float[Array, "n t f"]) -> Float[Array, "n f"]:
        if self.pool == "cls" or self.pool in QUERY_POOLS:
            return tokens[:, 0]
        patches = tokens if self.class_token is None else tokens[:, 1:]
        return self.head(patches) if self.pool == "map" else mean_pool(patches)


def check_read(tower: Any, *, reader: str) -> None:
    """Refuses an image tower whose tokens a text cannot read: wider than it says, or padded.

    Args:
        tower: of a dual encoder.
        reader: the model that reads them.

    Raises:
        ValueError: it is no `VisionTransformer`.
    """
    if not isinstance(tower, VisionTransformer):
        raise ValueError(
            f'the texts of {reader} read the tokens of an image tower of kind "vit", '
            f'got {type(tower).__name__}; set image.kind to "vit"'
        )


def _check(image_size: int, patch_size: int, pool: str, position: str, class_token: bool) -> None:
    if image_size < patch_size:
        raise ValueError(f"image_size must be at least patch_size {patch_size}, got {image_size}")
    check_choice("pool", pool, POOLS)
    check_choice("position", position, POSITIONS)
    if pool == "cls" and not class_token:
        raise ValueError('pool="cls" needs class_token to be True or None, got False')


def _check_queries(pool: str, queries: dict[str, int] | None) -> None:
    if (pool in QUERY_POOLS) != (queries is not None):
        raise ValueError(
            f"queries must be given with pool {', '.join(QUERY_POOLS)} and only then, got "
            f"{queries} with pool={pool!r}; such as dict(width=512, num_queries=256, num_heads=8)"
        )
