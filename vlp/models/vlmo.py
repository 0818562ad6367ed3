"""VLMo: one transformer that reads images, texts, and both at once."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, UInt8

from vlp.models.base import Encoded, PairModel, unit_norm
from vlp.models.heads import TokenHead
from vlp.models.inputs import PatchTokens, WordTokens
from vlp.nn.linear import Linear
from vlp.nn.multiway import Multiway
from vlp.nn.vocabulary import Words
from vlp.settings import check_choice, handing_on

POSITIONS = ("absolute", "relative")


class Vlmo(PairModel):
    """Images and texts through one transformer; `Vlmo(**model.kwargs, rngs=rngs)` builds it again.

    A pair is read from the first block on: of what is encoded, `match` and `predict_tokens` need
    `entering`, and no more.

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
        **settings: further keyword arguments of `PairModel`.

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

    @handing_on(PairModel)
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
        check_choice("positions", positions, POSITIONS)
        self._remember(multiway=multiway, positions=positions)
        width, relative = self.text.width, None
        if positions == "relative":
            self.image.positions = self.text.positions = None
            grid = self.image.image_size // self.image.patch_size
            relative = dict(grid=grid, text_length=self.text.length)
        heads: dict[str, Any] = dict(std=0.02, rngs=rngs)
        self.multiway = Multiway(width, **multiway, relative=relative, rngs=rngs)
        self.pooler = Linear(width, width, **heads)
        self.match_head = Linear(width, 2, **heads)
        words: dict[str, Any] = dict(vocab_size=self.text.vocab_size, dtype=self.text.dtype)
        self.token_head = TokenHead(width, **words, rngs=rngs)
        self.vocabulary = Linear(width, self.text.vocab_size, bias=False, **heads)
        self.pixel_head = Linear(width, 3 * self.image.patch_size**2, **heads)
        projection: dict[str, Any] = dict(bias=False, std=width**-0.5, rngs=rngs)
        self.pair_image_projection = Linear(width, embed_dim, **projection)
        self.pair_text_projection = Linear(width, embed_dim, **projection)
        self.pair_log_scale = nnx.Param(jnp.array(self.log_scale[...]))

    def encode(self, name: str, inputs: Any, **settings: Any) -> Encoded:
        """Embeddings and tokens of images or captions, see `Model.encode`.

        Raises:
            ValueError: when there is no such tower, or a setting is given: there is none.
        """
        if settings:
            raise ValueError(
                f"a transformer that images and texts share takes no {', '.join(settings)}, got "
                f"{settings}; leave them out, or take towers of their own"
            )
        x, mask = self._entering(name, inputs)
        return self._encoded(name, x, self.multiway.alone(x, expert=name, mask=mask))

    def branches(self, name: str, inputs: Any) -> tuple[Encoded, Float[Array, "n d"]]:
        """As `encode`, and embeddings by way of the upper blocks' expert for pairs."""
        x, mask = self._entering(name, inputs)
        below = self.multiway.below(x, expert=name, mask=mask)
        last = self.multiway.above(below, expert=name, modality=name, mask=mask)
        pair = self.multiway.above(below, expert="pair", modality=name, mask=mask)
        project = {"image": self.pair_image_projection, "text": self.pair_text_projection}[name]
        return self._encoded(name, x, last), unit_norm(project(pair[:, 0]))

    def fuse(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n l w"]:
        """The text's tokens, read together with the image's, behind the last norm; see `Fuses`."""
        return self._together(caption.entering, image, text)

    def match(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n 2"]:
        """Logits of "these do not belong together" and "they do"; see `Matches`."""
        words = self.fuse(image, caption, text)
        return self.match_head(jnp.tanh(self.pooler(words[:, 0]))).astype(jnp.float32)

    def predict_tokens(self, image: Encoded, text: Int[Array, "n l"]) -> Float[Array, "n l v"]:
        """The logits of the tokens of a text with masks, given its image; see `PredictsTokens`."""
        return self.predicted_tokens(image, text).logits()

    def predicted_tokens(self, image: Encoded, text: Int[Array, "n l"]) -> Words:
        """The same in front of the vocabulary."""
        return self._vocabulary(self._together(self.text.embed(text), image, text))

    def predict_words(self, text: Int[Array, "n l"]) -> Float[Array, "n l v"]:
        """The logits of the tokens of a text with masks, alone; see `PredictsWords`."""
        return self.predicted_words(text).logits()

    def predicted_words(self, text: Int[Array, "n l"]) -> Words:
        """The same in front of the vocabulary."""
        x, mask = self._entering("text", text)
        return self._vocabulary(self.multiway.alone(x, expert="text", mask=mask))

    def predict_pixels(
        self, images: UInt8[Array, "n h w 3"], *, hidden: Bool[Array, "n p"]
    ) -> Float[Array, "n p c"]:
        """The pixels of each patch, from an image in which some patches are hidden, float32."""
        x = self.image.embed(self.normalise(images), hidden=hidden)
        x = self.multiway.alone(x, expert="image")
        return self.pixel_head(x[:, 1:]).astype(jnp.float32)

    def hidden_states(self, name: str, inputs: Any) -> Float[Array, "states n t w"]:
        """The input of the first block and the output of each, none of them normalised."""
        x, mask = self._entering(name, inputs)
        return self.multiway.hidden_states(x, expert=name, mask=mask)

    def _entering(self, name: str, inputs: Any) -> tuple[Float[Array, "n t w"], Any]:
        """What enters the first block, and which tokens of it are no padding; None for all."""
        x = self._tower(name).embed(self._prepared(name, inputs))
        return x, self.text.padding_mask(inputs) if name == "text" else None

    def _encoded(self, name: str, x: Any, last: Float[Array, "n t w"]) -> Encoded:
        pooled = last[:, 0]
        return Encoded(self.embed(name, pooled), last, pooled, entering=x)

    def _together(self, words: Any, image: Encoded, text: Int[Array, "n l"]) -> Any:
        """The text's tokens, read together with the image's."""
        assert image.entering is not None, "as `encode` gives it"
        return self.multiway.together(words, image.entering, mask=self.text.padding_mask(text))[0]

    def _vocabulary(self, tokens: Float[Array, "n l w"]) -> Words:
        return self.token_head(tokens, self.vocabulary.kernel[...].T)


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
