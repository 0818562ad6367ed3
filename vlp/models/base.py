"""What all models share: towers by name, into one embedding space."""

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from vlp.models.naflex import NaflexImages, normalise_patches
from vlp.models.towers import make_tower
from vlp.nn.linear import Linear
from vlp.settings import check_choice

PROJECTIONS = ("none", "linear", "linear_bias")


class Encoded(NamedTuple):
    """What a tower says of its inputs.

    Attributes:
        embedding: of unit norm, in the space that all towers share; one, or one a query.
        tokens: one vector a token.
        pooled: the tower's own vector, before the projection and not normalised.
        entering: the tokens that enter the first block, where a model reads on from there.
    """

    embedding: Float[Array, "n d"] | Float[Array, "n q d"]
    tokens: Float[Array, "n t w"]
    pooled: Float[Array, "n f"] | Float[Array, "n q f"]
    entering: Float[Array, "n t w"] | None = None


class Model(nnx.Module):
    """Towers and their projections; abstract.

    The tower of a modality is the attribute of that name, its projection `<name>_projection`.

    Args:
        towers: by modality; None for one that is absent.
        projections: "linear" (no bias), "linear_bias", or "none", which needs the tower's width to
            be `embed_dim`; an absent tower has none, nor does one that is compared with nothing,
            whose is None.
        kwargs: the constructor's arguments, except `rngs`, as plain JSON data; among them
            `embed_dim`, the width of the shared space, and `image_mean` and `image_std`, the
            per-channel normalisation of pixels in [0, 1].

    Raises:
        ValueError: when a setting is unknown or widths do not fit.
    """

    image: Any
    text: Any
    image_projection: Any
    text_projection: Any
    log_scale: Any
    bias: Any

    def __init__(
        self,
        towers: Mapping[str, Any],
        *,
        projections: Mapping[str, str | None],
        kwargs: Mapping[str, Any],
        rngs: nnx.Rngs,
    ):
        # Kept as text: a module's plain attributes must be hashable.
        self._kwargs, self._modalities = json.dumps(kwargs), tuple(towers)
        self.image_mean, self.image_std = tuple(kwargs["image_mean"]), tuple(kwargs["image_std"])
        for name, tower in towers.items():
            setattr(self, name, tower)
        for name, kind in projections.items():
            width = kwargs["embed_dim"]
            projection = _projection(kind, towers[name], width, name=name, rngs=rngs)
            setattr(self, f"{name}_projection", projection)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The constructor's arguments, except `rngs`, as plain JSON data."""
        return json.loads(self._kwargs)

    def _remember(self, **own: Any) -> None:
        """Adds arguments of a constructor to `kwargs`."""
        self._kwargs = json.dumps(self.kwargs | own)

    @property
    def towers(self) -> dict[str, Any]:
        """The towers that are there, by modality."""
        there = {name: getattr(self, name) for name in self._modalities}
        return {name: tower for name, tower in there.items() if tower is not None}

    @property
    def dtype(self) -> str:
        """What the towers compute in; float32 where one does."""
        found = {tower.dtype for tower in self.towers.values()} - {None}
        return found.pop() if len(found) == 1 else "float32"

    def encode(self, name: str, inputs: Any, **settings: Any) -> Encoded:
        """Embeddings and tokens of inputs of one modality.

        Args:
            name: of the modality.
            inputs: what its tower takes; images as bytes.
            **settings: of the tower's call.

        Raises:
            ValueError: when there is no such tower, or it has no such setting.
        """
        tower = self._tower(name)
        for setting in settings.keys() - inspect.signature(type(tower).__call__).parameters.keys():
            raise ValueError(
                f"the {name} tower is a {type(tower).__name__}, which takes no {setting}, got "
                f"{settings[setting]!r}; leave it out, or take a tower of another kind"
            )
        pooled, tokens = tower(self._prepared(name, inputs), **settings)
        return Encoded(self.embed(name, pooled), tokens, pooled)

    def embed(self, name: str, pooled: Float[Array, "*n w"]) -> Float[Array, "*n d"]:
        """The unit-norm embeddings of what a tower of that modality pools."""
        projection = getattr(self, f"{name}_projection")
        return unit_norm(pooled if projection is None else projection(pooled))

    def hidden_states(self, name: str, inputs: Any) -> Float[Array, "states n t w"]:
        """The input of a tower's first block and the output of each."""
        return self._tower(name).hidden_states(self._prepared(name, inputs))

    def encode_image(
        self, images: UInt8[Array, "n h w 3"] | NaflexImages, **settings: Any
    ) -> Encoded:
        """Embeddings and tokens of images.

        Args:
            images: bytes; for an image tower of kind "naflex" as `NaflexImages`.
            **settings: of the tower's call: `keys` and `patch_drop` of `VisionTransformer`, `train`
                and `present` of `ModifiedResNet`.

        Raises:
            ValueError: when there is no image tower, or it has no such setting.
        """
        return self.encode("image", images, **settings)

    def encode_text(self, text: Int[Array, "n l"]) -> Encoded:
        """Embeddings and tokens of captions.

        Raises:
            ValueError: when there is no text tower.
        """
        return self.encode("text", text)

    def image_hidden_states(
        self, images: UInt8[Array, "n h w 3"] | NaflexImages
    ) -> Float[Array, "states n t f"]:
        """The input of the image tower's first block and the output of each."""
        return self.hidden_states("image", images)

    def text_hidden_states(self, text: Int[Array, "n l"]) -> Float[Array, "states n t w"]:
        """The input of the text tower's first block and the output of each."""
        return self.hidden_states("text", text)

    def normalise(self, images: UInt8[Array, "n h w 3"] | NaflexImages) -> Any:
        """Bytes to normalised float32 pixels, of the same shape."""
        mean = jnp.asarray(self.image_mean, jnp.float32)
        std = jnp.asarray(self.image_std, jnp.float32)
        if isinstance(images, NaflexImages):
            return normalise_patches(images, mean=mean, std=std)
        mean, std = mean.reshape(1, 1, 1, 3), std.reshape(1, 1, 1, 3)
        return (images.astype(jnp.float32) / 255 - mean) / std

    def _prepared(self, name: str, inputs: Any) -> Any:
        return self.normalise(inputs) if name == "image" else inputs

    def _tower(self, name: str) -> Any:
        towers = self.towers
        if name not in towers:
            raise ValueError(
                f"this model has no {name} tower, but {' and '.join(towers)}; load or build one "
                "that has"
            )
        return towers[name]


class PairModel(Model):
    """An image and a text tower, and the scale (and bias) of the logits; abstract.

    Args:
        image: keyword arguments of the image tower, whose class "kind" names in
            `vlp.models.towers.TOWERS` ("vit" where it says nothing); None for a text tower alone.
        text: likewise of the text tower ("transformer"); or None.
        embed_dim: width of the shared space.
        image_projection, text_projection: see `Model`.
        image_mean, image_std: per-channel normalisation of pixels in [0, 1].
        init_scale: multiplier of the cosine similarities at the start (CLIP 1 / 0.07, SigLIP 10).
        init_bias: added to the logits at the start (SigLIP -10), or None for no such parameter.
            A tower alone makes no logits: it has neither scale nor bias.

    Raises:
        ValueError: when a setting is unknown, widths do not fit or both towers are absent.
    """

    def __init__(
        self,
        *,
        image: dict[str, Any] | None,
        text: dict[str, Any] | None,
        embed_dim: int,
        image_projection: str | None = "linear",
        text_projection: str | None = "linear",
        image_mean: Sequence[float] = (0.5, 0.5, 0.5),
        image_std: Sequence[float] = (0.5, 0.5, 0.5),
        init_scale: float = 1 / 0.07,
        init_bias: float | None = None,
        rngs: nnx.Rngs,
    ):
        if image is None and text is None:
            raise ValueError("a model needs image or text to be a dict, got None for both")
        towers = {
            "image": make_tower("image", image, rngs=rngs),
            "text": make_tower("text", text, rngs=rngs),
        }
        projections = {"image": image_projection, "text": text_projection}
        kwargs = dict(
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
        super().__init__(towers, projections=projections, kwargs=kwargs, rngs=rngs)
        pair = all(towers[name] is not None and projections[name] is not None for name in towers)
        self.log_scale = learned_scalar(math.log(init_scale)) if pair else None
        self.bias = learned_scalar(init_bias) if pair and init_bias is not None else None


class CaptionModel(PairModel):
    """A model that writes captions with the words of its text tower; abstract."""

    @property
    def pad_id(self) -> int:
        """What fills a row behind the end of a caption."""
        return self.text.pad_id

    @property
    def caption_length(self) -> int:
        """The most tokens of a caption, the first and the last included."""
        return self.text.length


def unit_norm(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """The vectors at length 1, in float32; zero stays zero, with a finite gradient."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-12))


def learned_scalar(value: float) -> nnx.Param:
    """A parameter of one number."""
    return nnx.Param(jnp.asarray(value, jnp.float32))


def _projection(kind: str | None, tower: Any, embed_dim: int, *, name: str, rngs) -> Linear | None:
    if kind is None:
        return None
    check_choice(f"{name}_projection", kind, PROJECTIONS)
    if tower is None:
        return None
    width = tower.width
    if kind == "none":
        if width != embed_dim:
            raise ValueError(
                f'{name}_projection="none" needs a tower of width embed_dim {embed_dim}, got '
                f'{width}; use "linear"'
            )
        return None
    return Linear(width, embed_dim, bias=kind == "linear_bias", std=width**-0.5, rngs=rngs)
