"""VLMo: one transformer that reads images, texts, and both at once."""

import json
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, UInt8

from vlp.models.dual_encoder import DualEncoder, Encoded, unit_norm
from vlp.models.heads import TokenHead
from vlp.models.inputs import PatchTokens, WordTokens
from vlp.nn.linear import Linear
from vlp.nn.multiway import Multiway

POSITIONS = ("absolute", "relative")


class Vlmo(DualEncoder):
    """Images and texts through one transformer; `Vlmo(**model.kwargs, rngs=rngs)` builds it again.

    The `tokens` of what is encoded are those that *enter* the first block, for a pair is read from
    there: that is what `match` and `predict_tokens` need, and all that they need. What leaves the
    last block is in `image_hidden_states` and `text_hidden_states`.

    The heads of all stages of pretraining are part of the model, so that each stage may begin with
    the whole of the one before.

    Args:
        image: of `PatchTokens` (kind "patches").
        text: of `WordTokens` (kind "words"), as wide.
        multiway: keyword arguments of `vlp.nn.multiway.Multiway` except the width and `relative`.
        positions: "absolute", a vector for each place, added to what enters the first block; or
            "relative" in its stead, a number for each distance, added to the logits of all
            attention, see `vlp.nn.relative`.
        embed_dim: width of the shared space.
        **settings: further keyword arguments of `DualEncoder`.

    Raises:
        ValueError: when a setting is unknown, or the towers are of other kinds or widths.

    References:
        Bao et al., 2022, https://arxiv.org/abs/2111.02358;
        https://github.com/microsoft/unilm/tree/master/vlmo (`vlmo_module.py`). Followed: what
        enters the first block, experts and heads, the vocabulary's own output table, positions
        (relative in the released base and large models, absolute in base+). Departs: BERT's own
        type vector, equal for all words, is left to the vectors of places, or to those of words
        where there are none. The mask and the head for pixels are for a first stage of ours, see
        `vlp.objectives.masked_images`.
    """

    def __init__(
        self,
        *,
        image: dict[str, Any] | None,
        text: dict[str, Any] | None,
        multiway: dict[str, Any],
        positions: str = "absolute",
        embed_dim: int,
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        super().__init__(image=image, text=text, embed_dim=embed_dim, rngs=rngs, **settings)
        _check_towers(self.image, self.text)
        if positions not in POSITIONS:
            raise ValueError(f"positions must be one of {', '.join(POSITIONS)}, got {positions!r}")
        self._multiway, self._positions = json.dumps(multiway), positions
        width, relative = self.text.width, None
        if positions == "relative":
            self.image.positions = self.text.positions = None
            grid = self.image.image_size // self.image.patch_size
            relative = dict(grid=grid, text_length=self.text.length)
        heads: dict[str, Any] = dict(std=0.02, rngs=rngs)
        self.multiway = Multiway(width, **multiway, relative=relative, rngs=rngs)
        self.pooler = Linear(width, width, **heads)
        self.match_head = Linear(width, 2, **heads)
        self.token_head = TokenHead(width, vocab_size=self.text.vocab_size, rngs=rngs)
        self.vocabulary = Linear(width, self.text.vocab_size, bias=False, **heads)
        self.pixel_head = Linear(width, 3 * self.image.patch_size**2, **heads)
        projection: dict[str, Any] = dict(bias=False, std=width**-0.5, rngs=rngs)
        self.pair_image_projection = Linear(width, embed_dim, **projection)
        self.pair_text_projection = Linear(width, embed_dim, **projection)
        self.pair_log_scale = nnx.Param(jnp.array(self.log_scale[...]))

    @property
    def kwargs(self) -> dict[str, Any]:
        """The constructor's arguments, except `rngs`, as plain JSON data."""
        own = {"multiway": json.loads(self._multiway), "positions": self._positions}
        return {**super().kwargs, **own}

    def encode_image(
        self,
        images: UInt8[Array, "n h w 3"] | Any,
        *,
        keys: Any = None,
        patch_drop: float = 0.0,
        train: bool = False,
        present: Bool[Array, " n"] | None = None,
    ) -> Encoded:
        """Embeddings of images, and the tokens that enter the first block.

        Args:
            images: bytes.
            keys, patch_drop, train, present: as in `DualEncoder`; without effect here.

        Raises:
            ValueError: when patches are to be dropped, which this model does not do.
        """
        if patch_drop:
            raise ValueError(
                f'patch_drop needs an image tower of kind "vit", got {patch_drop} for a '
                "transformer that images and texts share; set patch_drop to 0"
            )
        x = self.image.embed(self.normalise(images))
        return _encoded(x, self.multiway.alone(x, expert="image"), self.image_projection)

    def encode_text(self, text: Int[Array, "n l"]) -> Encoded:
        """Embeddings of captions, and the tokens that enter the first block."""
        x = self.text.embed(text)
        last = self.multiway.alone(x, expert="text", mask=self.text.padding_mask(text))
        return _encoded(x, last, self.text_projection)

    def image_branches(
        self, images: UInt8[Array, "n h w 3"]
    ) -> tuple[Encoded, Float[Array, "n d"]]:
        """As `encode_image`, and embeddings by way of the upper blocks' expert for pairs."""
        x = self.image.embed(self.normalise(images))
        below = self.multiway.below(x, expert="image")
        last = self.multiway.above(below, expert="image", modality="image")
        pair = self.multiway.above(below, expert="pair", modality="image")
        own = _encoded(x, last, self.image_projection)
        return own, unit_norm(self.pair_image_projection(pair[:, 0]))

    def text_branches(self, text: Int[Array, "n l"]) -> tuple[Encoded, Float[Array, "n d"]]:
        """As `encode_text`, and embeddings by way of the upper blocks' expert for pairs."""
        x, mask = self.text.embed(text), self.text.padding_mask(text)
        below = self.multiway.below(x, expert="text", mask=mask)
        last = self.multiway.above(below, expert="text", modality="text", mask=mask)
        pair = self.multiway.above(below, expert="pair", modality="text", mask=mask)
        own = _encoded(x, last, self.text_projection)
        return own, unit_norm(self.pair_text_projection(pair[:, 0]))

    def fuse(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> tuple[Float[Array, "n l w"], Float[Array, "n t w"]]:
        """The tokens of text and image that were read together, behind the last norm."""
        return self.multiway.together(
            caption.tokens, image.tokens, mask=self.text.padding_mask(text)
        )

    def match(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n 2"]:
        """Logits of "these do not belong together" and "they do", float32.

        Args:
            image: what `encode_image` returned.
            caption: what `encode_text(text)` returned.
            text: token ids.
        """
        words, _ = self.fuse(image, caption, text)
        return self.match_head(jnp.tanh(self.pooler(words[:, 0]))).astype(jnp.float32)

    def predict_tokens(self, image: Encoded, text: Int[Array, "n l"]) -> Float[Array, "n l v"]:
        """The logits of the token at each place of a text with masks, given its image, float32."""
        words, _ = self.multiway.together(
            self.text.embed(text), image.tokens, mask=self.text.padding_mask(text)
        )
        return self._vocabulary(words)

    def predict_words(self, text: Int[Array, "n l"]) -> Float[Array, "n l v"]:
        """The logits of the token at each place of a text with masks, without an image, float32."""
        mask = self.text.padding_mask(text)
        x = self.multiway.alone(self.text.embed(text), expert="text", mask=mask)
        return self._vocabulary(x)

    def predict_pixels(
        self, images: UInt8[Array, "n h w 3"], *, hidden: Bool[Array, "n p"]
    ) -> Float[Array, "n p c"]:
        """The pixels of each patch, from an image in which some patches are hidden, float32."""
        x = self.image.embed(self.normalise(images), hidden=hidden)
        x = self.multiway.alone(x, expert="image")
        return self.pixel_head(x[:, 1:]).astype(jnp.float32)

    def image_hidden_states(self, images: Any) -> Float[Array, "states n t w"]:
        """The input of the first block and the output of each, none of them normalised."""
        x = self.image.embed(self.normalise(images))
        return self.multiway.hidden_states(x, expert="image")

    def text_hidden_states(self, text: Int[Array, "n l"]) -> Float[Array, "states n l w"]:
        """The input of the first block and the output of each, none of them normalised."""
        x, mask = self.text.embed(text), self.text.padding_mask(text)
        return self.multiway.hidden_states(x, expert="text", mask=mask)

    def _vocabulary(self, tokens: Float[Array, "n l w"]) -> Float[Array, "n l v"]:
        return self.token_head(tokens, self.vocabulary.kernel[...].T)


def _encoded(
    x: Float[Array, "n t w"], last: Float[Array, "n t w"], projection: Linear | None
) -> Encoded:
    pooled = last[:, 0]
    return Encoded(unit_norm(pooled if projection is None else projection(pooled)), x, pooled)


def _check_towers(image: Any, text: Any) -> None:
    if not isinstance(image, PatchTokens) or not isinstance(text, WordTokens):
        raise ValueError(
            'a transformer that image and text share needs image.kind "patches" and text.kind '
            f'"words", got {type(image).__name__} and {type(text).__name__}'
        )
    if image.width != text.width:
        raise ValueError(
            "image and text must have one width in a transformer that they share, got "
            f"{image.width} and {text.width}; set both to one of them"
        )
