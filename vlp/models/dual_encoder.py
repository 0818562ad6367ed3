"""Two towers into one embedding space: the model of CLIP and SigLIP."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from vlp.models.bert import Bert
from vlp.models.bow import BagOfWords
from vlp.models.inputs import PatchTokens, WordTokens
from vlp.models.naflex import NaflexImages, NaflexTransformer, normalise_patches
from vlp.models.resnet import ModifiedResNet
from vlp.models.text import TextTransformer
from vlp.models.vit import VisionTransformer
from vlp.nn.linear import Linear

PROJECTIONS = ("none", "linear", "linear_bias")
IMAGE_TOWERS: dict[str, Callable[..., Any]] = {
    "vit": VisionTransformer,
    "naflex": NaflexTransformer,
    "resnet": ModifiedResNet,
    "patches": PatchTokens,
}
TEXT_TOWERS: dict[str, Callable[..., Any]] = {
    "transformer": TextTransformer,
    "bert": Bert,
    "bow": BagOfWords,
    "words": WordTokens,
}


class Encoded(NamedTuple):
    """What a tower says of its inputs.

    Attributes:
        embedding: of unit norm, in the space that both towers share.
        tokens: one vector a token.
        pooled: the tower's own vector, before the projection and not normalised.
    """

    embedding: Float[Array, "n d"]
    tokens: Float[Array, "n t w"]
    pooled: Float[Array, "n f"]


class DualEncoder(nnx.Module):
    """An image and a text tower, their projections, and the scale (and bias) of the logits.

    `DualEncoder(**model.kwargs, rngs=rngs)` builds the same architecture again; `kwargs` is plain
    JSON data and goes into the model card.

    Args:
        image: keyword arguments of the image tower, whose class "kind" names in `IMAGE_TOWERS`
            ("vit" where it says nothing); or None for a text tower alone.
        text: likewise of the text tower, in `TEXT_TOWERS` ("transformer"); or None.
        embed_dim: width of the shared space.
        image_projection, text_projection: "linear" (no bias), "linear_bias", or "none", which
            needs the tower's width to be `embed_dim`. An absent tower has no projection.
        image_mean, image_std: per-channel normalisation of pixels in [0, 1].
        init_scale: multiplier of the cosine similarities at the start (CLIP 1 / 0.07, SigLIP 10).
        init_bias: added to the logits at the start (SigLIP -10), or None for no such parameter.
            A tower alone makes no logits: it has neither scale nor bias.

    Raises:
        ValueError: when a setting is unknown, widths do not fit or both towers are absent.

    References:
        Radford et al., 2021, https://arxiv.org/abs/2103.00020; Zhai et al., 2023,
        https://arxiv.org/abs/2303.15343.
    """

    def __init__(
        self,
        *,
        image: dict[str, Any] | None,
        text: dict[str, Any] | None,
        embed_dim: int,
        image_projection: str = "linear",
        text_projection: str = "linear",
        image_mean: Sequence[float] = (0.5, 0.5, 0.5),
        image_std: Sequence[float] = (0.5, 0.5, 0.5),
        init_scale: float = 1 / 0.07,
        init_bias: float | None = None,
        rngs: nnx.Rngs,
    ):
        # Kept as text: a module's plain attributes must be hashable.
        self._kwargs = json.dumps(
            dict(
                image=image,
                text=text,
                embed_dim=embed_dim,
                image_projection=image_projection,
                text_projection=text_projection,
                image_mean=list(image_mean),
                image_std=list(image_std),
                init_scale=init_scale,
                init_bias=init_bias,
            )
        )
        self.image_mean, self.image_std = tuple(image_mean), tuple(image_std)
        if image is None and text is None:
            raise ValueError("a dual encoder needs image or text to be a dict, got None for both")
        self.image = _tower(IMAGE_TOWERS, image, default="vit", name="image", rngs=rngs)
        self.text = _tower(TEXT_TOWERS, text, default="transformer", name="text", rngs=rngs)
        self.image_projection = _projection(
            image_projection, self.image, embed_dim, name="image_projection", rngs=rngs
        )
        self.text_projection = _projection(
            text_projection, self.text, embed_dim, name="text_projection", rngs=rngs
        )
        pair = image is not None and text is not None
        self.log_scale: Any = _scalar(math.log(init_scale)) if pair else None
        self.bias = _scalar(init_bias) if pair and init_bias is not None else None

    @property
    def kwargs(self) -> dict[str, Any]:
        """The constructor's arguments, except `rngs`, as plain JSON data."""
        return json.loads(self._kwargs)

    def encode_image(
        self,
        images: UInt8[Array, "n h w 3"] | NaflexImages,
        *,
        keys: Key[Array, " n"] | None = None,
        patch_drop: float = 0.0,
        train: bool = False,
        present: Bool[Array, " n"] | None = None,
    ) -> Encoded:
        """Embeddings and tokens of images.

        Args:
            images: bytes; for an image tower of kind "naflex" as `NaflexImages`.
            keys, patch_drop: as in `VisionTransformer`.
            train, present: as in `ModifiedResNet`; towers without batch norm do the same either
                way.

        Raises:
            ValueError: when there is no image tower, or patches are dropped in one without any.
        """
        tower = _present(self.image, "image")
        if patch_drop and not isinstance(tower, VisionTransformer):
            raise ValueError(
                f'patch_drop {patch_drop} needs an image tower of kind "vit", '
                f"got {type(tower).__name__}; set patch_drop to 0"
            )
        settings: dict[str, Any] = dict(keys=keys, patch_drop=patch_drop) if patch_drop else {}
        if isinstance(tower, ModifiedResNet):
            settings = dict(train=train, present=present)
        pooled, tokens = tower(self.normalise(images), **settings)
        return Encoded(_embed(pooled, self.image_projection), tokens, pooled)

    def encode_text(self, text: Int[Array, "n l"]) -> Encoded:
        """Embeddings and tokens of captions.

        Raises:
            ValueError: when there is no text tower.
        """
        pooled, tokens = _present(self.text, "text")(text)
        return Encoded(_embed(pooled, self.text_projection), tokens, pooled)

    def image_hidden_states(
        self, images: UInt8[Array, "n h w 3"] | NaflexImages
    ) -> Float[Array, "states n t f"]:
        """The input of the image tower's first block and the output of each."""
        return _present(self.image, "image").hidden_states(self.normalise(images))

    def text_hidden_states(self, text: Int[Array, "n l"]) -> Float[Array, "states n t w"]:
        """The input of the text tower's first block and the output of each."""
        return _present(self.text, "text").hidden_states(text)

    def normalise(self, images: UInt8[Array, "n h w 3"] | NaflexImages) -> Any:
        """Bytes to normalised float32 pixels, of the same shape."""
        mean = jnp.asarray(self.image_mean, jnp.float32)
        std = jnp.asarray(self.image_std, jnp.float32)
        if isinstance(images, NaflexImages):
            return normalise_patches(images, mean=mean, std=std)
        mean, std = mean.reshape(1, 1, 1, 3), std.reshape(1, 1, 1, 3)
        return (images.astype(jnp.float32) / 255 - mean) / std


def unit_norm(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The vectors at length 1, in float32; zero stays zero, with a finite gradient."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-12))


def _embed(pooled: Float[Array, "n w"], projection: Linear | None) -> Float[Array, "n d"]:
    return unit_norm(pooled if projection is None else projection(pooled))


def _tower(
    kinds: dict[str, Callable[..., Any]],
    settings: dict[str, Any] | None,
    *,
    default: str,
    name: str,
    rngs: nnx.Rngs,
) -> Any:
    if settings is None:
        return None
    settings = dict(settings)
    kind = settings.pop("kind", default)
    if kind not in kinds:
        raise ValueError(f"{name}.kind must be one of {', '.join(kinds)}, got {kind!r}")
    return kinds[kind](**settings, rngs=rngs)


def _present(tower: Any, name: str) -> Any:
    if tower is None:
        raise ValueError(f"this model has no {name} tower; load or build one that has")
    return tower


def _scalar(value: float) -> nnx.Param:
    return nnx.Param(jnp.asarray(value, jnp.float32))


def _projection(kind: str, tower: Any, embed_dim: int, *, name: str, rngs) -> Linear | None:
    if kind not in PROJECTIONS:
        raise ValueError(f"{name} must be one of {', '.join(PROJECTIONS)}, got {kind!r}")
    if tower is None:
        return None
    width = tower.width
    if kind == "none":
        if width != embed_dim:
            raise ValueError(
                f'{name}="none" needs a tower of width embed_dim {embed_dim}, got {width}; '
                'use "linear"'
            )
        return None
    return Linear(width, embed_dim, bias=kind == "linear_bias", std=width**-0.5, rngs=rngs)
