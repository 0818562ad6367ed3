"""Images to patch embeddings, and the random subset of patches of FLIP."""

import jax
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from vlp.nn.linear import Linear


class PatchEmbedding(nnx.Module):
    """A linear map of each patch.

    `linear.kernel` is `[patch * patch * 3, w]` with rows ordered (row, column, channel); as
    weights of a convolution, `[w, 3, patch, patch]`, they are
    `kernel.reshape(patch, patch, 3, w).transpose(3, 2, 0, 1)`.
    """

    def __init__(
        self,
        patch_size: int,
        width: int,
        *,
        bias: bool = True,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        fan_in = 3 * patch_size**2
        self.linear = Linear(fan_in, width, bias=bias, std=fan_in**-0.5, dtype=dtype, rngs=rngs)

    def __call__(self, patches: Float[Array, "n p c"]) -> Float[Array, "n p w"]:
        return self.linear(patches)


def check_pixels(pixels: Float[Array, "n h w 3"], image_size: int) -> None:
    """Raises ValueError when images have another size."""
    if pixels.shape[1:3] != (image_size, image_size):
        raise ValueError(
            f"images must be {image_size} x {image_size} pixels, got "
            f"{pixels.shape[1]} x {pixels.shape[2]}; resize them or change image_size"
        )


def extract_patches(pixels: Float[Array, "n h w 3"], patch_size: int) -> Float[Array, "n p c"]:
    """Cuts images into patches, row by row, each flattened as (row, column, channel).

    Pixels behind the last whole patch are left out, as a convolution without padding does.
    """
    n, h, w, channels = pixels.shape
    rows, columns = h // patch_size, w // patch_size
    # Not by an index, which is a gather for a batch of any number of images.
    pixels = jax.lax.slice_in_dim(pixels, 0, rows * patch_size, axis=1)
    pixels = jax.lax.slice_in_dim(pixels, 0, columns * patch_size, axis=2)
    grid = pixels.reshape(n, rows, patch_size, columns, patch_size, channels)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(n, rows * columns, -1)


def kept_patches(
    keys: Key[Array, " n"], *, num_patches: int, patch_drop: float
) -> Int[Array, "n kept"]:
    """For each example the indices of a random subset of its patches.

    The count is the same for all, `num_patches * (1 - patch_drop)` rounded, at least one.

    References:
        Li et al., 2022 (FLIP), https://arxiv.org/abs/2212.00794.
    """
    count = max(1, round(num_patches * (1 - patch_drop)))
    return jax.vmap(lambda key: jax.random.permutation(key, num_patches)[:count])(keys)
