"""The BERT text tower."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vlp.nn.linear import Linear, normal_param
from vlp.nn.norm import LayerNorm
from vlp.nn.pooling import mean_pool
from vlp.nn.positions import check_length
from vlp.nn.stack import Stack
from vlp.settings import check_choice, handing_on

POOLS = ("cls", "mean")


class Bert(nnx.Module):
    """Token ids through a post-norm transformer to one vector a text; without dropout.

    Args:
        length: the most tokens a text may have. Padding is hidden from attention, so cutting
            columns that hold nothing else changes no result.
        num_types: how many kinds of tokens (segments) there are; None for no such table (BLIP).
        pool: "cls" (the first token, which the tokenizer puts there) or "mean" (over what is not
            padding).
        pooler: a linear layer and tanh behind the pooled vector.
        norm_eps, dtype: as in `VisionTransformer`.
        **settings: further keyword arguments of `vlp.nn.stack.Stack`.

    Raises:
        ValueError: when a setting is unknown.

    References:
        Devlin et al., 2019, https://arxiv.org/abs/1810.04805.
    """

    @handing_on(Stack, leaving=("context_width", "norm_order", "layer_scale"))
    def __init__(
        self,
        *,
        vocab_size: int,
        length: int,
        width: int,
        depth: int,
        num_types: int | None = 2,
        pool: str = "cls",
        pooler: bool = True,
        pad_id: int = 0,
        norm_eps: float = 1e-12,
        dtype: str = "float32",
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        check_choice("pool", pool, POOLS)
        table = functools.partial(normal_param, std=0.02, rngs=rngs)
        self.vocab_size, self.length, self.width = vocab_size, length, width
        self.pool, self.pad_id, self.dtype = pool, pad_id, dtype
        self.tokens = table(vocab_size, width)
        self.positions = table(length, width)
        self.types = None if num_types is None else table(num_types, width)
        self.embed_norm = LayerNorm(width, eps=norm_eps)
        settings |= dict(norm_eps=norm_eps, dtype=dtype, rngs=rngs)
        self.stack = Stack(width, depth, norm_order="post", **settings)
        self.pooler = Linear(width, width, std=0.02, rngs=rngs) if pooler else None

    def __call__(
        self, text: Int[Array, "n l"], *, token_types: Int[Array, "n l"] | None = None
    ) -> tuple[Float[Array, "n w"], Float[Array, "n l w"]]:
        """The pooled vectors and the tokens.

        Args:
            text: token ids.
            token_types: the kind of each token, in [0, num_types); left out, all are 0.

        Raises:
            ValueError: when the text is longer than `length`, or has kinds without a table of them.
        """
        mask = self.padding_mask(text)
        tokens = self.stack(self.embed(text, token_types=token_types), mask=mask)
        pooled = tokens[:, 0] if self.pool == "cls" else mean_pool(tokens, mask=mask)
        if self.pooler is not None:
            pooled = jnp.tanh(self.pooler(pooled))
        return pooled, tokens

    def hidden_states(
        self, text: Int[Array, "n l"], *, token_types: Int[Array, "n l"] | None = None
    ) -> Float[Array, "states n l w"]:
        """The input of the first block and the output of each; the last are the tokens."""
        x = self.embed(text, token_types=token_types)
        return self.stack.hidden_states(x, mask=self.padding_mask(text))

    def embed(
        self, text: Int[Array, "n l"], *, token_types: Int[Array, "n l"] | None = None
    ) -> Float[Array, "n l w"]:
        """What enters the first block: the normalised sum of token, kind and position."""
        check_length(text, self.length)
        positions = self.positions[...][None, : text.shape[1]]
        return self._normed(self.tokens[...][text], positions, token_types)

    def embed_next(
        self, ids: Int[Array, " n"], *, position: Int[Array, ""]
    ) -> Float[Array, "n 1 w"]:
        """What enters the first block for tokens at one position of their texts."""
        vector = jax.lax.dynamic_slice_in_dim(self.positions[...], position, 1)[None]
        return self._normed(self.tokens[...][ids[:, None]], vector, None)

    def _normed(
        self,
        tokens: Float[Array, "n l w"],
        positions: Float[Array, "1 l w"],
        token_types: Int[Array, "n l"] | None,
    ) -> Float[Array, "n l w"]:
        if self.types is None and token_types is not None:
            raise ValueError("token_types need a table of them, and num_types is None; leave them")
        if self.types is not None:
            types = self.types[...]
            tokens = tokens + (types[0][None, None] if token_types is None else types[token_types])
        return self.embed_norm(tokens + positions).astype(jnp.dtype(self.dtype))

    def padding_mask(self, text: Int[Array, "n l"]) -> Bool[Array, "n l"]:
        """Which tokens are no padding."""
        return text != self.pad_id


def plain_bert(
    settings: Mapping[str, Any], params: Mapping[str, Any], *, vocab_size: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A BERT without pooler and kinds of tokens, with room for more tokens.

    The kind that all its tokens had goes into the positions, so that text alone is encoded as
    before. Tokens that it lacks begin as the mean of its own.

    Args:
        settings, params: of the tower, parameters as a nested dict.
        vocab_size: tokens that there are to be at least.
    """
    own = dict(params)
    types = own.pop("types", None)
    if types is not None:
        own["positions"] = own["positions"] + types[:1]
    missing = vocab_size - len(own["tokens"])
    rows = np.broadcast_to(
        own["tokens"].mean(axis=0, keepdims=True), (max(missing, 0), own["tokens"].shape[1])
    )
    own["tokens"] = np.concatenate([own["tokens"], rows])
    own.pop("pooler", None)
    return dict(settings, num_types=None, pooler=False, vocab_size=len(own["tokens"])), own
