"""CoCa: a dual encoder whose text continues into a decoder that reads the image and captions it."""

import json
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vlp.models.dual_encoder import DualEncoder
from vlp.models.text import TextTransformer
from vlp.models.vit import VisionTransformer
from vlp.nn.decoder import DecoderStack
from vlp.nn.linear import Linear
from vlp.nn.norm import LayerNorm


class CoCa(DualEncoder):
    """A dual encoder and a decoder; `CoCa(**model.kwargs, rngs=rngs)` builds the same again.

    The text tower is the decoder's first half, which sees no image; its tokens go on into the
    second. The first of the image tower's tokens is for the embedding, the others for the decoder.

    Args:
        image: of a `VisionTransformer` with pool "cls" or, as in the paper, "queries".
        text: of a causal `TextTransformer` with pool "cls_last".
        decoder: keyword arguments of `Decoder` except the widths and the vocabulary, which follow
            from the towers.
        embed_dim: width of the shared space.
        **settings: further keyword arguments of `DualEncoder`.

    Raises:
        ValueError: when a setting is unknown or the towers are others than those.

    References:
        Yu et al., 2022, https://arxiv.org/abs/2205.01917; Ilharco et al., open_clip,
        https://github.com/mlfoundations/open_clip, whose released weights this fits: there one set
        of queries serves both the embedding and the decoder.
    """

    def __init__(
        self,
        *,
        image: dict[str, Any],
        text: dict[str, Any],
        decoder: dict[str, Any],
        embed_dim: int,
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        super().__init__(image=image, text=text, embed_dim=embed_dim, rngs=rngs, **settings)
        _check_image(self.image)
        _check_text(self.text)
        self._decoder = json.dumps(decoder)
        self.decoder = Decoder(
            self.text.width,
            context_width=self.image.width,
            vocab_size=self.text.vocab_size,
            **decoder,
            rngs=rngs,
        )

    @property
    def kwargs(self) -> dict[str, Any]:
        """The constructor's arguments, except `rngs`, as plain JSON data."""
        return {**super().kwargs, "decoder": json.loads(self._decoder)}

    def decode(
        self, image_tokens: Float[Array, "n t c"], text_tokens: Float[Array, "n l w"]
    ) -> Float[Array, "n l v"]:
        """The logits of what follows each text token, float32.

        Args:
            image_tokens: `encode_image(...).tokens`.
            text_tokens: `encode_text(...).tokens`, or the first of them; for teacher forcing all
                but the last, to be compared with `text[:, 1:]`.
        """
        return self.decoder(text_tokens, image_tokens[:, 1:])


class Decoder(nnx.Module):
    """Text tokens, which also read an image, to logits over the vocabulary.

    Args:
        width: of the text tokens.
        context_width: of the image tokens.
        vocab_size: how many logits.
        depth, num_heads: sizes of the stack.
        mlp_ratio: hidden width of the perceptrons relative to `width`, unless `mlp_dim` is given.
        activation, norm_eps, attention, remat, unroll, dtype: as in `TextTransformer`.
    """

    def __init__(
        self,
        width: int,
        *,
        context_width: int,
        vocab_size: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        mlp_dim: int | None = None,
        activation: str = "gelu",
        norm_eps: float = 1e-6,
        attention: str = "einsum",
        remat: str = "none",
        unroll: int = 1,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        self.stack = DecoderStack(
            width,
            depth,
            context_width=context_width,
            mlp_dim=mlp_dim or round(width * mlp_ratio),
            num_heads=num_heads,
            activation=activation,
            norm_eps=norm_eps,
            attention=attention,
            remat=remat,
            unroll=unroll,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = LayerNorm(width, eps=norm_eps)
        self.vocabulary = Linear(
            width, vocab_size, bias=False, std=width**-0.5, dtype=dtype, rngs=rngs
        )

    def __call__(
        self, text_tokens: Float[Array, "n l w"], image_tokens: Float[Array, "n s c"]
    ) -> Float[Array, "n l v"]:
        x = self.norm(self.stack(text_tokens, image_tokens))
        return self.vocabulary(x).astype(jnp.float32)


def _check_image(tower: Any) -> None:
    if not isinstance(tower, VisionTransformer) or tower.pool not in ("cls", "queries"):
        raise ValueError(
            'CoCa needs image to be a "vit" with pool "cls" or "queries", whose first token is the '
            f"pooled one, got {_described(tower)}"
        )


def _check_text(tower: Any) -> None:
    if not isinstance(tower, TextTransformer) or tower.pool != "cls_last" or not tower.causal:
        raise ValueError(
            'CoCa needs text to be a causal "transformer" with pool "cls_last", whose tokens know '
            f"nothing of later ones, got {_described(tower)}"
        )


def _described(tower: Any) -> str:
    return f"{type(tower).__name__} with pool {getattr(tower, 'pool', None)!r}"
