"""BLIP: one BERT in three modes: text alone, text that reads the image, text that is written."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.models.base import CaptionModel, Encoded, PairModel
from vlp.models.bert import plain_bert
from vlp.models.heads import TokenHead
from vlp.models.vit import check_read
from vlp.nn.attention import DecoderCache
from vlp.nn.grounding import Grounding
from vlp.nn.linear import Linear
from vlp.nn.vocabulary import Words
from vlp.settings import handing_on, settings_for

# What a model can do beyond encoding images: "encode" is for text, alone and in front of an image.
MODES = ("encode", "decode")


class Blip(CaptionModel):
    """A multimodal mixture of encoder and decoder; `Blip(**model.kwargs, rngs=rngs)` builds it
    again.

    The text tower is a BERT. For matching the same blocks also read the image's tokens, class token
    included; for captions they do so with a causal self-attention of their own. What a text begins
    with says which is meant: the tokenizer's own first token, `encode_id` or `decode_id`, which
    the methods here put in its place.

    Args:
        image: as in `PairModel`; its tokens are what is read.
        text: of a `Bert` (kind "bert") without pooler. A model for "decode" alone has it with
            `causal=True`.
        modes: which of "encode" and "decode" the model has: both after pretraining, one in a
            published checkpoint for retrieval or captions. One for "decode" alone compares nothing:
            its image embeddings are the class token, and no text has one.
        end_id: the token that ends a caption.
        encode_id, decode_id: first tokens of a text to match and of a caption; the last of the
            vocabulary and the one before it, if not given.
        tied_head: whether the embedding table is also that of the words that are written; after
            fine-tuning the two apart a checkpoint has one for each.
        **settings: further keyword arguments of `PairModel`.

    Raises:
        ValueError: when a setting is unknown, or a tower is another.

    References:
        Li et al., 2022, https://arxiv.org/abs/2201.12086, section 3.1;
        https://github.com/salesforce/BLIP (`models/med.py`). Different: no dropout.
    """

    @handing_on(PairModel)
    def __init__(
        self,
        *,
        image: dict[str, Any],
        text: dict[str, Any],
        modes: Sequence[str],
        end_id: int,
        encode_id: int | None = None,
        decode_id: int | None = None,
        tied_head: bool = True,
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        _check_modes(modes)
        self.modes = tuple(mode for mode in MODES if mode in modes)
        encodes, decodes = "encode" in modes, "decode" in modes
        _check_text(text, causal=not encodes)
        projection = settings.pop("text_projection", "linear")
        super().__init__(
            image=image,
            text=text,
            # A decoder alone shares no space with the images.
            text_projection=projection if encodes else None,
            rngs=rngs,
            **settings,
        )
        check_read(self.image, reader="BLIP")
        width, vocab_size = self.text.width, self.text.vocab_size
        self.end_id = end_id
        self.encode_id = vocab_size - 1 if encode_id is None else encode_id
        self.decode_id = vocab_size - 2 if decode_id is None else decode_id
        self.grounding = Grounding(
            context_width=self.image.width,
            writes=encodes and decodes,
            **settings_for(Grounding, text),
            rngs=rngs,
        )
        self.match_head: Any = Linear(width, 2, std=0.02, rngs=rngs) if encodes else None
        sizes: dict[str, Any] = dict(vocab_size=vocab_size, tied=tied_head, dtype=self.text.dtype)
        self.token_head: Any = TokenHead(width, **sizes, rngs=rngs) if decodes else None
        ids = dict(end_id=end_id, encode_id=self.encode_id, decode_id=self.decode_id)
        head = {"tied_head": False} if decodes and not tied_head else {}
        self._remember(text_projection=projection, modes=list(self.modes), **ids, **head)

    @staticmethod
    def adopted(
        kwargs: Mapping[str, Any], params: Mapping[str, Any], *, wanted: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """A BERT as the start of a BLIP; other models are given back as they are.

        Its self-attention is also the writer's. The kind that all its tokens had goes into the
        positions, so that text alone is encoded as before; the authors leave it out. Tokens that
        it lacks begin as the mean of its own.

        Args:
            kwargs, params: of the model to begin with, parameters as a nested dict.
            wanted: keyword arguments of the model that begins.
        """
        text = kwargs.get("text") or {}
        if text.get("kind") != "bert" or {"modes", "fusion"} & set(kwargs):
            return kwargs, params
        settings, own = plain_bert(text, params["text"], vocab_size=wanted["text"]["vocab_size"])
        blocks = own["stack"]["blocks"]
        writer = {"writer": blocks["attention"], "norm_writer": blocks["norm1"]}
        writes = set(wanted["modes"]) == set(MODES)
        grounding = {"grounding": {"blocks": writer}} if writes else {}
        return {**kwargs, "text": settings}, {**params, "text": own, **grounding}

    def encode(self, name: str, inputs: Any, **settings: Any) -> Encoded:
        """Embeddings and tokens of images, or of captions alone; see `Model.encode`.

        Raises:
            ValueError: when texts are given to a model for "decode" alone.
        """
        if name == "text":
            self._need("encode")
        return super().encode(name, inputs, **settings)

    @property
    def lacks(self) -> tuple[str, ...]:
        """The methods for which it has no parameters."""
        needs = {"encode": ("encode_text", "match"), "decode": ("decode", "start_caption")}
        return sum((needs[mode] for mode in MODES if mode not in self.modes), ())

    def match(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n 2"]:
        """Logits of "these do not belong together" and "they do"; see `Matches`.

        The caption is not looked at: BLIP reads a text to match from its first block on.

        Raises:
            ValueError: when the model is for "decode" alone.
        """
        self._need("encode")
        tokens = self._grounded(image, text, first=self.encode_id, writing=False)
        return self.match_head(tokens[:, 0]).astype(jnp.float32)

    def decode(
        self, image: Encoded, caption: Encoded | None, text: Int[Array, "n l"]
    ) -> Float[Array, "n l-1 v"]:
        """The logits of what follows each token but the last; see `Decodes`.

        The caption is not looked at, and the first token is taken for `decode_id`.

        Raises:
            ValueError: when the model is for "encode" alone.
        """
        return self.decoded(image, caption, text).logits()

    def decoded(self, image: Encoded, caption: Encoded | None, text: Int[Array, "n l"]) -> Words:
        """The same in front of the vocabulary."""
        self._need("decode")
        tokens = self._grounded(image, text[:, :-1], first=self.decode_id, writing=True)
        return self.token_head(tokens, self.text.tokens[...])

    def start_caption(
        self, image: Encoded, *, length: int
    ) -> tuple[Int[Array, " n"], DecoderCache]:
        """What captions begin with, and the cache of a model for "decode"; see `WritesCaptions`."""
        self._need("decode")
        cache = self.grounding.start(self.text.stack, image.tokens, length=length)
        return jnp.full(image.tokens.shape[:1], self.decode_id, jnp.int32), cache

    def next_token(
        self, cache: DecoderCache, ids: Int[Array, " n"], position: Int[Array, ""]
    ) -> tuple[Float[Array, "n v"], DecoderCache]:
        """The logits of what follows one token more, and the cache; see `WritesCaptions`."""
        x = self.text.embed_next(ids, position=position)
        x, cache = self.grounding.next(self.text.stack, x, cache, position=position)
        return self.token_head(x, self.text.tokens[...]).logits()[:, 0], cache

    def _grounded(self, image: Encoded, text: Any, *, first: int, writing: bool) -> Array:
        """The tokens of texts that begin with `first`, after reading the image."""
        text = text.at[:, 0].set(first)
        return self.grounding(
            self.text.stack,
            self.text.embed(text),
            context=image.tokens,
            mask=self.text.padding_mask(text),
            writing=writing,
        )

    def _need(self, mode: str) -> None:
        if mode not in self.modes:
            raise ValueError(
                f'this needs a BLIP for "{mode}", and this one is for "{self.modes[0]}" alone; '
                f"load one with modes={list(MODES)}, or another checkpoint"
            )


def _check_modes(modes: Sequence[str]) -> None:
    if isinstance(modes, str) or not modes or set(modes) - set(MODES):
        raise ValueError(f"modes must be a list of some of {', '.join(MODES)}, got {modes!r}")


def _check_text(text: dict[str, Any], *, causal: bool) -> None:
    wanted = dict(kind="bert", pool="cls", pooler=False, causal=causal)
    usual = dict(kind="transformer", pool="cls", pooler=True, causal=False)
    wrong = [name for name, value in wanted.items() if text.get(name, usual[name]) != value]
    if wrong:
        name = wrong[0]
        raise ValueError(
            f"text.{name} of a BLIP with these modes must be {wanted[name]!r}, "
            f"got {text.get(name, usual[name])!r}"
        )
