"""CoCa: a dual encoder whose text continues into a decoder that reads the image and captions it."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.models.base import CaptionModel, Encoded, PairModel
from vlp.models.text import TextTransformer
from vlp.models.vit import QUERY_POOLS, VisionTransformer
from vlp.nn.attention import DecoderCache, KeyValue
from vlp.nn.decoder import DecoderStack
from vlp.nn.linear import Linear
from vlp.nn.norm import LayerNorm
from vlp.nn.vocabulary import Words
from vlp.settings import handing_on


class CaptionCache(NamedTuple):
    """What is kept while captions are written: of the text tower, and of the decoder behind it."""

    text: KeyValue
    decoder: DecoderCache


class CoCa(CaptionModel):
    """Two towers and a decoder; `CoCa(**model.kwargs, rngs=rngs)` builds the same again.

    The text tower is the decoder's first half, which sees no image; its tokens go on into the
    second. The first of the image tower's tokens is for the embedding, the others for the decoder.

    Args:
        image: of a `VisionTransformer` with pool "cascade", which is the paper's, "parallel", which
            the paper compares it with, "queries", which is open_clip's, or "cls".
        text: of a causal `TextTransformer` with pool "cls_last".
        decoder: keyword arguments of `Decoder` except the widths and the vocabulary, which follow
            from the towers.
        begin_id: the token that every caption begins with, from which captions are written; None
            where they begin with their first word.
        **settings: further keyword arguments of `PairModel`.

    Raises:
        ValueError: when a setting is unknown or the towers are others than those.

    References:
        Yu et al., 2022, https://arxiv.org/abs/2205.01917; Ilharco et al., open_clip,
        https://github.com/mlfoundations/open_clip, whose released weights this fits: there one set
        of queries with one attention serves both the embedding and the decoder, as in
        https://github.com/lucidrains/CoCa-pytorch. The paper gives each a pooler of its own.
    """

    @handing_on(PairModel)
    def __init__(
        self,
        *,
        image: dict[str, Any],
        text: dict[str, Any],
        decoder: dict[str, Any],
        begin_id: int | None = None,
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        super().__init__(image=image, text=text, rngs=rngs, **settings)
        _check_image(self.image)
        _check_text(self.text)
        self.begin_id = begin_id
        self._remember(decoder=decoder, **({} if begin_id is None else {"begin_id": begin_id}))
        self.decoder = Decoder(
            self.text.width,
            context_width=self.image.width,
            vocab_size=self.text.vocab_size,
            **decoder,
            rngs=rngs,
        )

    @property
    def end_id(self) -> int:
        """The token that ends a caption."""
        return self.text.eos_id

    def decode(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n l-1 v"]:
        """The logits of what follows each token but the last; see `Decodes`."""
        return self.decoded(image, caption, text).logits()

    def decoded(self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]) -> Words:
        """The same in front of the vocabulary."""
        return self.decoder(caption.tokens[:, :-1], image.tokens[:, 1:])

    def start_caption(
        self, image: Encoded, *, length: int
    ) -> tuple[Int[Array, " n"], CaptionCache]:
        """What captions begin with, if that is known, and the cache; see `WritesCaptions`."""
        if self.begin_id is None:
            raise ValueError(
                "captions are written from the token that they begin with, and this model was "
                "trained with a tokenizer that has none; train one with tokenizer.begin=True"
            )
        n = image.tokens.shape[0]
        read = self.decoder.stack.start(image.tokens[:, 1:], length=length)
        return (
            jnp.full((n,), self.begin_id, jnp.int32),
            CaptionCache(self.text.start(n, length=length), read),
        )

    def next_token(
        self, cache: CaptionCache, ids: Int[Array, " n"], position: Int[Array, ""]
    ) -> tuple[Float[Array, "n v"], CaptionCache]:
        """The logits of what follows one token more, and the cache; see `WritesCaptions`."""
        x, text = self.text.next(ids, cache.text, position=position)
        words, read = self.decoder.next(x, cache.decoder, position=position)
        return words.logits()[:, 0], CaptionCache(text, read)


class Decoder(nnx.Module):
    """Text tokens, which also read an image, to words of the vocabulary.

    Args:
        width: of the text tokens.
        vocab_size: how many logits.
        depth: of the stack.
        norm_eps, dtype: as in `TextTransformer`.
        **settings: further keyword arguments of `DecoderStack`.
    """

    @handing_on(DecoderStack)
    def __init__(
        self,
        width: int,
        *,
        vocab_size: int,
        depth: int,
        norm_eps: float = 1e-6,
        dtype: str = "float32",
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        settings |= dict(norm_eps=norm_eps, dtype=dtype, rngs=rngs)
        self.stack = DecoderStack(width, depth, **settings)
        self.norm = LayerNorm(width, eps=norm_eps)
        self.vocabulary = Linear(
            width, vocab_size, bias=False, std=width**-0.5, dtype=dtype, rngs=rngs
        )

    def __call__(
        self, text_tokens: Float[Array, "n l w"], image_tokens: Float[Array, "n s c"]
    ) -> Words:
        return self._words(self.stack(text_tokens, image_tokens))

    def next(
        self, x: Float[Array, "n 1 w"], cache: DecoderCache, *, position: Int[Array, ""]
    ) -> tuple[Words, DecoderCache]:
        """The word behind one token more, and the cache of the stack with it."""
        x, cache = self.stack.next(x, cache, position=position)
        return self._words(x), cache

    def _words(self, x: Float[Array, "n l w"]) -> Words:
        x = self.norm(x).astype(jnp.dtype(self.vocabulary.dtype))
        return Words(x, self.vocabulary.kernel[...])


def _check_image(tower: Any) -> None:
    if not isinstance(tower, VisionTransformer) or tower.pool not in ("cls", *QUERY_POOLS):
        raise ValueError(
            f'CoCa needs image to be a "vit" with pool cls, {", ".join(QUERY_POOLS)}, whose first '
            f"token is the pooled one, got {_described(tower)}"
        )


def _check_text(tower: Any) -> None:
    if not isinstance(tower, TextTransformer) or tower.pool != "cls_last" or not tower.causal:
        raise ValueError(
            'CoCa needs text to be a causal "transformer" with pool "cls_last", whose tokens know '
            f"nothing of later ones, got {_described(tower)}"
        )


def _described(tower: Any) -> str:
    return f"{type(tower).__name__} with pool {getattr(tower, 'pool', None)!r}"
