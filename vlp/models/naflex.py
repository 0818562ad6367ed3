"""The vision transformer tower for images of any aspect ratio (NaFlex)."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, UInt8

from vlp.nn.linear import normal_param
from vlp.nn.norm import LayerNorm
from vlp.nn.patches import PatchEmbedding
from vlp.nn.pooling import AttentionPool
from vlp.nn.stack import Stack
from vlp.settings import handing_on, settings_for


class NaflexImages(NamedTuple):
    """Images of different shapes in one array, each as its patches and then padding.

    Attributes:
        patches: uint8, row by row, each patch flattened as (row, column, channel); once a model
            has normalised them, float32.
        mask: True for patches, False for padding.
        grid: rows and columns of patches; their product is the number of True in the mask.
    """

    patches: UInt8[Array, "n p c"] | Float[Array, "n p c"]
    mask: Bool[Array, "n p"]
    grid: Int[Array, "n 2"]

    @property
    def lengths(self) -> Int[Array, " n"]:
        """How many patches each has."""
        return jnp.sum(self.mask, axis=1)


def device_images(images: Any) -> Any:
    """Images as the towers know them: the host's tuples of these fields, and its rows that have
    them by name, become `NaflexImages`."""
    if isinstance(images, tuple):
        return NaflexImages(*images)
    if isinstance(images, np.ndarray) and images.dtype.names:
        parts: Any = [images[name] for name in NaflexImages._fields]
        return NaflexImages(*parts)
    return images


class NaflexTransformer(nnx.Module):
    """Patches through a transformer to one vector an image, whatever the image's shape.

    The learned positions are a square table, resized to each image's grid of patches by
    antialiased bilinear interpolation. Attention and the attention pooling ignore padding.

    Args:
        patch_size: pixels along each side of a patch.
        num_patches: entries of the square table of positions; images may have more or fewer.
        activation, norm_eps, dtype: as in `VisionTransformer`.
        **settings: further keyword arguments of `vlp.nn.stack.Stack`.

    Raises:
        ValueError: when a setting is unknown or the table is not square.

    References:
        Tschannen et al., 2025 (SigLIP 2), https://arxiv.org/abs/2502.14786; Dehghani et al., 2023
        (NaViT), https://arxiv.org/abs/2307.06304; Beyer et al., 2023 (FlexiViT),
        https://arxiv.org/abs/2212.08013.
    """

    @handing_on(Stack, leaving=("causal", "context_width", "norm_order", "layer_scale"))
    def __init__(
        self,
        *,
        patch_size: int,
        num_patches: int,
        width: int,
        depth: int,
        activation: str = "gelu_tanh",
        norm_eps: float = 1e-6,
        dtype: str = "float32",
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        if math.isqrt(num_patches) ** 2 != num_patches:
            raise ValueError(f"num_patches must be a square such as 256, got {num_patches}")
        self.patch_size, self.num_patches = patch_size, num_patches
        self.width, self.dtype = width, dtype
        settings |= dict(activation=activation, norm_eps=norm_eps, dtype=dtype, rngs=rngs)
        self.patches = PatchEmbedding(patch_size, width, dtype=dtype, rngs=rngs)
        self.positions = normal_param(num_patches, width, std=width**-0.5, rngs=rngs)
        self.stack = Stack(width, depth, **settings)
        self.norm = LayerNorm(width, eps=norm_eps)
        self.head = AttentionPool(width, **settings_for(AttentionPool, settings))

    def __call__(self, images: NaflexImages) -> tuple[Float[Array, "n f"], Float[Array, "n p f"]]:
        """The pooled vectors and the normalised tokens; tokens of padding mean nothing."""
        tokens = self.norm(self.stack(self.embed(images), mask=images.lengths))
        return self.head(tokens, mask=images.lengths), tokens

    def hidden_states(self, images: NaflexImages) -> Float[Array, "states n p f"]:
        """The input of the first block and the output of each, none of them normalised."""
        return self.stack.hidden_states(self.embed(images), mask=images.lengths)

    def embed(self, images: NaflexImages) -> Float[Array, "n p f"]:
        """What enters the first block: embedded patches with positions.

        Raises:
            ValueError: when the patches are of another size.
        """
        pixels = 3 * self.patch_size**2
        if images.patches.shape[2] != pixels:
            raise ValueError(
                f"patches must have 3 x {self.patch_size} x {self.patch_size} = {pixels} values, "
                f"got {images.patches.shape[2]}; cut the images with this model's patch_size"
            )
        positions = resized_positions(
            self.positions[...], images.grid, num_patches=images.patches.shape[1]
        )
        x = self.patches(images.patches).astype(jnp.float32) + positions
        return x.astype(jnp.dtype(self.dtype))


def normalise_patches(
    images: NaflexImages, *, mean: Float[Array, " 3"], std: Float[Array, " 3"]
) -> NaflexImages:
    """Bytes to normalised float32 pixels; padding becomes zero."""
    n, count, size = images.patches.shape
    pixels = images.patches.reshape(n, count, size // 3, 3).astype(jnp.float32) / 255
    pixels = (pixels - mean.reshape(1, 1, 1, 3)) / std.reshape(1, 1, 1, 3)
    patches = jnp.where(images.mask[:, :, None], pixels.reshape(n, count, size), 0)
    return images._replace(patches=patches)


def resized_positions(
    table: Float[Array, "s f"], grid: Int[Array, "n 2"], *, num_patches: int
) -> Float[Array, "n p f"]:
    """The square table at each image's grid, row by row; padding gets the first patch's.

    Each patch takes the mean of the table's entries under a triangle around the patch's centre,
    as wide as two entries or, where the grid is smaller than the table, as two patches. This is
    the antialiased bilinear resize of Pillow and PyTorch, but for grids one patch wide, where that
    of PyTorch (2.13, on CPU) reads the table in a wrong order.
    """
    side = math.isqrt(table.shape[0])
    rows, columns = grid[:, :1], grid[:, 1:]
    patch = jnp.arange(num_patches)[None]
    patch = jnp.where(patch < rows * columns, patch, 0)
    row = _triangle(patch // columns, rows, side)
    column = _triangle(patch % columns, columns, side)
    # One product with the whole table: two, one a side, would need far larger arrays in between.
    share = (row[:, :, :, None] * column[:, :, None, :]).reshape(*patch.shape, -1)
    return jnp.einsum("nps,sf->npf", share, table, precision=jax.lax.Precision.HIGHEST)


def _triangle(
    place: Int[Array, "n p"], count: Int[Array, "n 1"], side: int
) -> Float[Array, "n p s"]:
    """Weights over `side` entries of a table for places among `count`; they sum to one."""
    step = side / count.astype(jnp.float32)
    centre = (place.astype(jnp.float32) + 0.5) * step
    entry = (jnp.arange(side, dtype=jnp.float32) + 0.5)[None, None]
    distance = jnp.abs(entry - centre[:, :, None]) / jnp.maximum(step, 1)[:, :, None]
    weight = jnp.maximum(1 - distance, 0)
    return weight / jnp.sum(weight, axis=-1, keepdims=True)
