"""BLIP-2's first stage: queries that read a frozen image tower, in one BERT with the text."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vlp.models.base import CaptionModel, Encoded, Model, learned_scalar
from vlp.models.bert import Bert, plain_bert
from vlp.models.frozen import FrozenTower
from vlp.models.heads import TokenHead
from vlp.models.protocols import Frozen
from vlp.models.towers import make_tower
from vlp.models.vit import check_read
from vlp.nn.attention import KeyValue
from vlp.nn.linear import Linear
from vlp.nn.norm import LayerNorm
from vlp.nn.querying import Querying
from vlp.nn.vocabulary import Words
from vlp.settings import settings_for


class Blip2(CaptionModel):
    """An image tower and a Q-Former; `Blip2(**model.kwargs, rngs=rngs)` builds it again.

    The Q-Former is a BERT, which is the text tower, with queries that go through the same
    self-attention. What may see what makes three models of it: apart, queries and text give the
    embeddings that are compared, one a query and one a text; side by side, all seen by all, they
    are matched; and the text is written behind the queries, of which no one sees the text.

    What is read of the image tower is what leaves its last block, under a norm of the Q-Former's
    own. A tower of kind "frozen" is `given` by the run, and no parameter of this model.

    Args:
        image: of a `VisionTransformer`, or of a `FrozenTower` (kind "frozen").
        text: of a `Bert` (kind "bert") without pooler and kinds of tokens.
        embed_dim: width of the shared space.
        end_id: the token that ends a caption.
        decode_id: the first token of a caption; the last of the vocabulary, if not given.
        num_queries: learned queries.
        cross_every: the first of so many blocks reads the image.
        writes: whether there is a head for words.
        image_norm_eps: of the norm of the image's tokens.
        image_mean, image_std: per-channel normalisation of pixels in [0, 1].
        init_scale: multiplier of the cosine similarities at the start.

    Raises:
        ValueError: when a setting is unknown, or a tower is another.

    References:
        Li et al., 2023, https://arxiv.org/abs/2301.12597, section 3.1;
        https://github.com/salesforce/LAVIS (`models/blip2_models/blip2_qformer.py`). Different: no
        dropout; to be written behind them, the queries are computed once more, not kept.
    """

    def __init__(
        self,
        *,
        image: dict[str, Any],
        text: dict[str, Any],
        embed_dim: int,
        end_id: int,
        decode_id: int | None = None,
        num_queries: int = 32,
        cross_every: int = 2,
        writes: bool = True,
        image_norm_eps: float = 1e-5,
        image_mean: Sequence[float] = (0.5, 0.5, 0.5),
        image_std: Sequence[float] = (0.5, 0.5, 0.5),
        init_scale: float = 1 / 0.07,
        rngs: nnx.Rngs,
    ):
        decode_id = text["vocab_size"] - 1 if decode_id is None else decode_id
        towers = {name: make_tower(name, settings, rngs=rngs)
                  for name, settings in (("image", image), ("text", text))}  # fmt: skip
        _check_towers(**towers)
        Model.__init__(
            self,
            towers,
            projections={"text": "linear_bias"},
            kwargs=dict(
                image=image, text=text, embed_dim=embed_dim, end_id=end_id, decode_id=decode_id,
                num_queries=num_queries, cross_every=cross_every, writes=writes,
                image_norm_eps=image_norm_eps, image_mean=list(image_mean),
                image_std=list(image_std), init_scale=init_scale,
            ),
            rngs=rngs,
        )  # fmt: skip
        width, read = self.text.width, getattr(self.image, "stream_width", self.image.width)
        self.end_id, self.decode_id, self.writes = end_id, decode_id, writes
        self.image_norm = LayerNorm(read, eps=image_norm_eps)
        self.querying = Querying(
            num_queries=num_queries,
            every=cross_every,
            context_width=read,
            **settings_for(Querying, text),
            rngs=rngs,
        )
        self.image_projection = Linear(width, embed_dim, std=width**-0.5, rngs=rngs)
        self.match_head = Linear(width, 2, std=0.02, rngs=rngs)
        words: dict[str, Any] = dict(vocab_size=self.text.vocab_size, dtype=self.text.dtype)
        self.token_head: Any = TokenHead(width, **words, rngs=rngs) if writes else None
        self.log_scale, self.bias = learned_scalar(math.log(init_scale)), None

    @staticmethod
    def adopted(
        kwargs: Mapping[str, Any], params: Mapping[str, Any], *, wanted: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """A BERT as the start of a Q-Former, whose queries' perceptrons begin as the text's; other
        models are given back as they are.

        Args:
            kwargs, params: of the model to begin with, parameters as a nested dict.
            wanted: keyword arguments of the model that begins.
        """
        text, every = kwargs.get("text") or {}, wanted.get("cross_every", 2)
        if text.get("kind") != "bert" or {"modes", "fusion", "num_queries"} & set(kwargs):
            return kwargs, params
        settings, own = plain_bert(text, params["text"], vocab_size=wanted["text"]["vocab_size"])
        perceptrons = jax.tree.map(
            lambda p: p.reshape(-1, every, *p.shape[1:]),
            {part: own["stack"]["blocks"][part] for part in ("mlp", "norm2")},
        )
        querying = {"blocks": {"perceptrons": perceptrons}}
        return {**kwargs, "text": settings}, {**params, "text": own, "querying": querying}

    @property
    def dtype(self) -> str:
        """What queries and text compute in, whatever another model's image tower does."""
        return self.text.dtype

    @property
    def frozen(self) -> tuple[str, ...]:
        """The image tower, where it is another model's; see `ReadsFrozen`."""
        return ("image",) if isinstance(self.image, FrozenTower) else ()

    def given(self, frozen: Frozen) -> "Blip2":
        """This model with the frozen image tower in its place; see `ReadsFrozen`.

        Raises:
            ValueError: when that has another width, or takes other pixels.
        """
        if not self.frozen:
            return self
        theirs, whole = frozen["image"], nnx.merge(*nnx.split(self))
        _check_given(self, theirs)
        whole.image = theirs.image
        whole._remember(image=theirs.kwargs["image"])
        return whole

    @property
    def lacks(self) -> tuple[str, ...]:
        """The methods for which it has no parameters."""
        return () if self.writes else ("decode", "start_caption")

    def encode(self, name: str, inputs: Any, **settings: Any) -> Encoded:
        """Embeddings and tokens of images or captions, see `Model.encode`.

        Of images there is an embedding for each query; the tokens are what the queries read.
        """
        if name != "image":
            return super().encode(name, inputs, **settings)
        if isinstance(self.image, FrozenTower):
            self.image(inputs)
        entering = self.image.embed(self.normalise(inputs), **settings)
        tokens = self.image_norm(self.image.stack(entering))
        queries = self._through(tokens, None)
        return Encoded(self.embed("image", queries), tokens, queries)

    def match(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n 2"]:
        """Logits of "these do not belong together" and "they do", the mean of the queries' own.

        The caption is not looked at: image and text are read together from the first block on.
        """
        mask = jnp.pad(
            self.text.padding_mask(text), ((0, 0), (self._count, 0)), constant_values=True
        )
        queries = self._through(image.tokens, text, mask=mask)[:, : self._count]
        return jnp.mean(self.match_head(queries).astype(jnp.float32), axis=1)

    def decode(
        self, image: Encoded, caption: Encoded | None, text: Int[Array, "n l"]
    ) -> Float[Array, "n l-1 v"]:
        """The logits of what follows each token but the last; see `Decodes`.

        The caption is not looked at, and the first token is taken for `decode_id`.

        Raises:
            ValueError: when the model has no head for words.
        """
        return self.decoded(image, caption, text).logits()

    def decoded(self, image: Encoded, caption: Encoded | None, text: Int[Array, "n l"]) -> Words:
        """The same in front of the vocabulary."""
        self._need_head()
        text = text[:, :-1].at[:, 0].set(self.decode_id)
        mask = behind_queries(self._count, length=text.shape[1])[None, None]
        tokens = self._through(image.tokens, text, mask=mask)[:, self._count :]
        return self.token_head(tokens, self.text.tokens[...])

    def start_caption(self, image: Encoded, *, length: int) -> tuple[Int[Array, " n"], KeyValue]:
        """What captions begin with, and the cache of a model that writes; see `WritesCaptions`."""
        self._need_head()
        n = len(image.tokens)
        queries = self.querying.entering(self.text.embed_norm, n=n)
        cache = self.querying.start(self.text.stack, queries, context=image.tokens, length=length)
        return jnp.full((n,), self.decode_id, jnp.int32), cache

    def next_token(
        self, cache: KeyValue, ids: Int[Array, " n"], position: Int[Array, ""]
    ) -> tuple[Float[Array, "n v"], KeyValue]:
        """The logits of what follows one token more, and the cache; see `WritesCaptions`."""
        x = self.text.embed_next(ids, position=position)
        x, cache = self.text.stack.next(x, cache, position=self._count + position)
        return self.token_head(x, self.text.tokens[...]).logits()[:, 0], cache

    @property
    def _count(self) -> int:
        return self.querying.num_queries

    def _through(self, context: Array, text: Any, *, mask: Any = None) -> Float[Array, "n t w"]:
        """The queries, and the text behind them where there is one, after all blocks."""
        embedded = None if text is None else self.text.embed(text)
        x = self.querying.entering(self.text.embed_norm, embedded, n=len(context))
        return self.querying(self.text.stack, x, context=context, mask=mask)

    def _need_head(self) -> None:
        if not self.writes:
            raise ValueError(
                "this needs a BLIP-2 with a head for words, and this one has none, as those of "
                "transformers; load one of a run, or train with model.writes=True"
            )


def behind_queries(queries: int, *, length: int) -> Bool[Array, "t t"]:
    """Who may see whom where a text is written: queries each other, tokens these and the past."""
    places = jnp.arange(queries + length)
    return places[None] < jnp.maximum(places + 1, queries)[:, None]


def _check_towers(image: Any, text: Any) -> None:
    if not isinstance(image, FrozenTower):
        check_read(image, reader="BLIP-2")
    if not isinstance(text, Bert) or text.pooler is not None or text.types is not None:
        raise ValueError(
            'text of a BLIP-2 must be of kind "bert" with num_types=None and pooler=False, got '
            f"{type(text).__name__}"
        )


def _check_given(model: Blip2, theirs: Any) -> None:
    """Raises ValueError where a frozen tower is not the one that this model was made for."""
    check_read(theirs.image, reader="BLIP-2")
    if theirs.image.stream_width != model.image.width:
        raise ValueError(
            f"model.image.width must be that of frozen.image, {theirs.image.stream_width}, got "
            f"{model.image.width}; set it so, or give another tower"
        )
    pixels, own = ((m.image_mean, m.image_std) for m in (theirs, model))
    if pixels != own:
        raise ValueError(
            "preprocess.mean and preprocess.std must be those of frozen.image, "
            f"{pixels[0]} and {pixels[1]}, got {own[0]} and {own[1]}; set them so"
        )
