"""What images and texts bring to a transformer that they share: towers without blocks."""

import functools
from typing import Any, NoReturn

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vlp.nn.linear import normal_param
from vlp.nn.norm import LayerNorm
from vlp.nn.patches import PatchEmbedding, check_pixels, extract_patches
from vlp.nn.positions import check_length


class Inputs(nnx.Module):
    """What enters a transformer that towers share; abstract."""

    named: tuple[str, str]  # the tower, and its kind

    def __call__(self, inputs: Any) -> NoReturn:
        """Refuses: there is nothing behind the first block's input.

        Raises:
            ValueError: always.
        """
        tower, kind = self.named
        raise ValueError(
            f'a tower of kind "{kind}" is the input of a transformer that image and text share, '
            f"got a model without one; give model.multiway, or another {tower}.kind"
        )


class PatchTokens(Inputs):
    """Embedded patches behind a class token, with positions, and a vector that says "image".

    Args:
        image_size: pixels along each side.
        patch_size: pixels along each side of a patch.
        width: of the tokens.
        dtype: of the matrix product and the tokens; parameters stay float32.

    Raises:
        ValueError: when the sizes do not divide.
    """

    named = ("image", "patches")

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        width: int,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        if image_size < patch_size or image_size % patch_size:
            lower = max(image_size // patch_size, 1) * patch_size
            raise ValueError(
                f"image_size must divide by patch_size {patch_size}, got {image_size}; "
                f"try {lower} or {lower + patch_size}"
            )
        table = functools.partial(normal_param, std=0.02, rngs=rngs)
        self.image_size, self.patch_size, self.width = image_size, patch_size, width
        self.num_patches = (image_size // patch_size) ** 2
        self.dtype = dtype
        self.patches = PatchEmbedding(patch_size, width, dtype=dtype, rngs=rngs)
        self.class_token = table(width)
        self.mask_token = table(width)
        # None in a transformer with relative positions.
        self.positions: nnx.Param | None = table(self.num_patches + 1, width)
        self.kind = table(width)

    def embed(
        self, pixels: Float[Array, "n h w 3"], *, hidden: Bool[Array, "n p"] | None = None
    ) -> Float[Array, "n t f"]:
        """What enters the first block: the class token, then the patches.

        Args:
            pixels: normalised.
            hidden: patches to show a learned mask in place of, all with their positions; none if
                not given.

        Raises:
            ValueError: when the images have another size.
        """
        check_pixels(pixels, self.image_size)
        x = self.patches(extract_patches(pixels, self.patch_size)).astype(jnp.float32)
        if hidden is not None:
            x = jnp.where(hidden[:, :, None], self.mask_token[...][None, None], x)
        first = jnp.broadcast_to(self.class_token[...][None, None], (x.shape[0], 1, self.width))
        x = jnp.concatenate([first, x], axis=1)
        if self.positions is not None:
            x = x + self.positions[...][None]
        x = x + self.kind[...][None, None]
        return x.astype(jnp.dtype(self.dtype))


class WordTokens(Inputs):
    """Embedded words with positions, normalised as in BERT, and a vector that says "text".

    Args:
        vocab_size: ids are below it.
        length: the most tokens a text may have.
        width: of the tokens.
        pad_id: padding, which is hidden from attention.
        norm_eps: of the LayerNorm.
        dtype: of the tokens; parameters stay float32.
    """

    named = ("text", "words")

    def __init__(
        self,
        *,
        vocab_size: int,
        length: int,
        width: int,
        pad_id: int = 0,
        norm_eps: float = 1e-12,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        table = functools.partial(normal_param, std=0.02, rngs=rngs)
        self.vocab_size, self.length, self.width = vocab_size, length, width
        self.pad_id, self.dtype = pad_id, dtype
        self.tokens = table(vocab_size, width)
        # None in a transformer with relative positions.
        self.positions: nnx.Param | None = table(length, width)
        self.embed_norm = LayerNorm(width, eps=norm_eps)
        self.kind = table(width)

    def embed(self, text: Int[Array, "n l"]) -> Float[Array, "n l w"]:
        """What enters the first block.

        Raises:
            ValueError: when the text is longer than `length`.
        """
        check_length(text, self.length)
        x = self.tokens[...][text]
        if self.positions is not None:
            x = x + self.positions[...][None, : text.shape[1]]
        x = self.embed_norm(x) + self.kind[...][None, None]
        return x.astype(jnp.dtype(self.dtype))

    def padding_mask(self, text: Int[Array, "n l"]) -> Bool[Array, "n l"]:
        """Which tokens are no padding."""
        return text != self.pad_id
