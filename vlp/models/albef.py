"""ALBEF: a dual encoder, and a fusion encoder in which the text reads the image."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.models.base import Encoded, PairModel
from vlp.models.bert import Bert
from vlp.models.heads import TokenHead
from vlp.models.vit import check_read
from vlp.nn.fusion import FusionStack
from vlp.nn.linear import Linear
from vlp.nn.vocabulary import Words
from vlp.settings import handing_on


class Albef(PairModel):
    """Two towers and a fusion encoder; `Albef(**model.kwargs, rngs=rngs)` builds it again.

    Text tower and fusion encoder are the two halves of one BERT: the first sees the text alone,
    each block of the second also reads the image's tokens, class token included.

    Args:
        image: as in `PairModel`; its tokens are what is read.
        text: of a `Bert` (kind "bert").
        fusion: keyword arguments of `FusionStack` except the widths, which follow from the towers.
        tied_head: whether the embedding table is also that of the predicted words.
        **settings: further keyword arguments of `PairModel`.

    Raises:
        ValueError: when a setting is unknown, the image tower is no vision transformer or the text
            tower no BERT.

    References:
        Li et al., 2021, https://arxiv.org/abs/2107.07651; https://github.com/salesforce/ALBEF.
    """

    @handing_on(PairModel)
    def __init__(
        self,
        *,
        image: dict[str, Any],
        text: dict[str, Any],
        fusion: dict[str, Any],
        tied_head: bool = True,
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        super().__init__(image=image, text=text, rngs=rngs, **settings)
        check_read(self.image, reader="ALBEF")
        if not isinstance(self.text, Bert):
            raise ValueError(
                'a fusion encoder needs a text tower of kind "bert", '
                f"got {type(self.text).__name__}"
            )
        self._remember(fusion=fusion, **({} if tied_head else {"tied_head": False}))
        width = self.text.width
        self.fusion = FusionStack(width, context_width=self.image.width, **fusion, rngs=rngs)
        self.match_head = Linear(width, 2, std=0.02, rngs=rngs)
        words: dict[str, Any] = dict(vocab_size=self.text.vocab_size, dtype=self.text.dtype)
        self.token_head = TokenHead(width, **words, tied=tied_head, rngs=rngs)

    @staticmethod
    def adopted(
        kwargs: Mapping[str, Any], params: Mapping[str, Any], *, wanted: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """A BERT as deep as both halves together, cut into text tower and fusion encoder.

        The fusion encoder's cross-attention is not in it, and its pooler is not taken over. Other
        models are given back as they are.

        Args:
            kwargs, params: of the model to begin with, parameters as a nested dict.
            wanted: keyword arguments of the model that begins.
        """
        text, depth = kwargs.get("text") or {}, wanted["text"]["depth"]
        whole = depth + wanted["fusion"]["depth"]
        if "fusion" in kwargs or text.get("kind") != "bert" or text["depth"] != whole:
            return kwargs, params
        blocks = params["text"]["stack"]["blocks"]
        lower = jax.tree.map(lambda x: x[:depth], blocks)
        upper = jax.tree.map(lambda x: x[depth:], blocks)
        kept = {name: part for name, part in params["text"].items() if name != "pooler"}
        own = {**kept, "stack": {"blocks": lower}}
        cut = {**params, "text": own, "fusion": {"blocks": upper}}
        return {**kwargs, "text": {**text, "depth": depth, "pooler": False}}, cut

    def fuse(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n l w"]:
        """The text's tokens after reading the image; see `Fuses`."""
        return self.fusion(caption.tokens, image.tokens, mask=self.text.padding_mask(text))

    def match(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n 2"]:
        """Logits of "these do not belong together" and "they do"; see `Matches`."""
        return self.match_head(self.fuse(image, caption, text)[:, 0]).astype(jnp.float32)

    def predict_tokens(self, image: Encoded, text: Int[Array, "n l"]) -> Float[Array, "n l v"]:
        """The logits of the tokens of a text with masks, given its image; see `PredictsTokens`."""
        return self.predicted_tokens(image, text).logits()

    def predicted_tokens(self, image: Encoded, text: Int[Array, "n l"]) -> Words:
        """The same in front of the vocabulary."""
        tokens = self.fuse(image, self.encode_text(text), text)
        return self.token_head(tokens, self.text.tokens[...])
