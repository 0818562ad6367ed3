"""The text transformer tower."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vlp.nn.attention import KeyValue, empty_cache
from vlp.nn.linear import normal_param
from vlp.nn.norm import LayerNorm
from vlp.nn.pooling import first_position, mean_pool, take_token
from vlp.nn.positions import check_length
from vlp.nn.stack import Stack
from vlp.settings import check_choice, handing_on

POOLS = ("eot", "argmax", "first", "last", "mean", "cls", "cls_last")


class TextTransformer(nnx.Module):
    """Token ids through a transformer to one vector a caption.

    Args:
        length: the most tokens a caption may have. Shorter arrays are fine: they use the first
            positions. For a causal tower with "eot" pooling, cutting columns after the last
            end-of-text token changes no result.
        causal: whether a token sees only itself and earlier ones (CLIP: yes, SigLIP: no).
        mask_padding: whether `pad_id` is hidden from attention (SigLIP: no).
        pool: "eot" (the first `eos_id` of the row, or its first position where there is none:
            the rule of transformers and open_clip),
            "argmax" (the largest id of the row, for tokenizers whose last id is end of text: the
            rule of CLIP's own code), "first" or "last" (that position, padding or not; SigLIP:
            last), "mean" (over what is not padding), "cls" (a learned class token in front; needs
            `causal=False`), or "cls_last" (a learned class token behind, as in CoCa).
        norm_eps, dtype: as in `VisionTransformer`.
        **settings: further keyword arguments of `vlp.nn.stack.Stack`.

    With "cls_last" the tokens leave without the class token and not normalised, only the pooled
    vector is, and padding is hidden from attention, one place too late: the released weights of
    CoCa were trained with the mask of a class token in front, so the first token of padding is
    seen and the class token is not, unless the caption fills its row.

    Raises:
        ValueError: when a setting is unknown or settings contradict each other.

    References:
        Radford et al., 2021, https://arxiv.org/abs/2103.00020; Zhai et al., 2023,
        https://arxiv.org/abs/2303.15343; Yu et al., 2022 (CoCa), https://arxiv.org/abs/2205.01917;
        Ilharco et al., open_clip, https://github.com/mlfoundations/open_clip (CoCa's mask).
    """

    @handing_on(Stack, leaving=("context_width", "norm_order"))
    def __init__(
        self,
        *,
        vocab_size: int,
        length: int,
        width: int,
        depth: int,
        causal: bool = True,
        mask_padding: bool = False,
        pool: str = "eot",
        eos_id: int = 1,
        pad_id: int = 0,
        norm_eps: float = 1e-6,
        dtype: str = "float32",
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        _check(pool, causal)
        self.vocab_size, self.length, self.width = vocab_size, length, width
        self.pool, self.causal = pool, causal
        self.mask_padding = mask_padding or pool == "cls_last"
        self.eos_id, self.pad_id, self.dtype = eos_id, pad_id, dtype
        self.tokens = normal_param(vocab_size, width, std=0.02, rngs=rngs)
        class_token = pool in ("cls", "cls_last")
        self.positions = normal_param(length + class_token, width, std=0.01, rngs=rngs)
        self.class_token = normal_param(width, std=0.02, rngs=rngs) if class_token else None
        settings |= dict(causal=causal, norm_eps=norm_eps, dtype=dtype, rngs=rngs)
        self.stack = Stack(width, depth, **settings)
        self.norm = LayerNorm(width, eps=norm_eps)

    def __call__(
        self, text: Int[Array, "n l"], *, stack: Stack | None = None
    ) -> tuple[Float[Array, "n w"], Float[Array, "n t w"]]:
        """The pooled vectors and the normalised tokens (class token first, where there is one).

        Args:
            text: token ids.
            stack: blocks of another tower in place of its own.

        Raises:
            ValueError: when the text is longer than `length`.
        """
        x = (stack or self.stack)(self.embed(text), mask=self._visible(text))
        if self.pool == "cls_last":
            return self.norm(x[:, -1]), x[:, :-1]
        tokens = self.norm(x)
        return self._pool(tokens, text), tokens

    def hidden_states(self, text: Int[Array, "n l"]) -> Float[Array, "states n t w"]:
        """The input of the first block and the output of each, none of them normalised."""
        return self.stack.hidden_states(self.embed(text), mask=self._visible(text))

    def embed(self, text: Int[Array, "n l"]) -> Float[Array, "n t w"]:
        """What enters the first block: embedded tokens with positions."""
        check_length(text, self.length)
        x = self.tokens[...][text]
        if self.class_token is not None:
            first = jnp.broadcast_to(self.class_token[...][None, None], (x.shape[0], 1, self.width))
            x = jnp.concatenate([x, first] if self.pool == "cls_last" else [first, x], axis=1)
        x = x + self.positions[...][None, : x.shape[1]]
        return x.astype(jnp.dtype(self.dtype))

    def start(self, n: int, *, length: int) -> KeyValue:
        """What is kept from token to token, before the first of `length` tokens of `n` captions."""
        attention = self.stack.blocks.attention
        return empty_cache(attention, depth=self.stack.depth, n=n, length=length)

    def next(
        self, ids: Int[Array, " n"], cache: KeyValue, *, position: Int[Array, ""]
    ) -> tuple[Float[Array, "n 1 w"], KeyValue]:
        """The token that `ids` become at `position`, and the cache with it; for a causal tower.

        The class token sees them and they do not see it. No id may be padding.
        """
        x = self.tokens[...][ids] + jax.lax.dynamic_slice_in_dim(self.positions[...], position, 1)
        x, cache = self.stack.next(
            x[:, None].astype(jnp.dtype(self.dtype)), cache, position=position
        )
        return x if self.pool == "cls_last" else self.norm(x), cache

    def _pool(self, tokens: Float[Array, "n t w"], text: Int[Array, "n l"]) -> Float[Array, "n w"]:
        if self.pool == "eot":
            return take_token(tokens, first_position(text, self.eos_id))
        if self.pool == "argmax":
            return take_token(tokens, jnp.argmax(text, axis=1))
        if self.pool == "mean":
            return mean_pool(tokens, mask=self._padding_mask(text))
        return tokens[:, -1 if self.pool == "last" else 0]

    def _visible(self, text: Int[Array, "n l"]) -> Bool[Array, "n t"] | None:
        return self._padding_mask(text) if self.mask_padding else None

    def _padding_mask(self, text: Int[Array, "n l"]) -> Bool[Array, "n t"]:
        mask = text != self.pad_id
        if self.class_token is None:
            return mask
        return jnp.concatenate([jnp.ones((text.shape[0], 1), bool), mask], axis=1)


def _check(pool: str, causal: bool) -> None:
    check_choice("pool", pool, POOLS)
    if pool == "cls" and causal:
        raise ValueError(
            'pool="cls" needs causal=False: the first token of a causal tower sees no other; '
            'use pool="eot"'
        )
