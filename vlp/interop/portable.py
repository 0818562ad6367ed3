"""Towers as functions of plain arrays, for stacks that run graphs instead of modules.

Every such export computes in float32: a graph has one set of operations for all devices, and what
is bfloat16 in training is not on every CPU.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.interop.adapt import only_tower
from vlp.interop.loaded import Run, abstract_model, params_of, with_settings
from vlp.models.base import Model, unit_norm
from vlp.training.params import leaf_names

Encoder = Callable[[Mapping[str, Any], jax.Array], tuple[jax.Array, jax.Array]]
IMAGE_KINDS = ("vit", "resnet")
NAMES = {"both": ("image", "text"), "image": ("image",), "text": ("text",)}
PLATFORMS = ("cpu", "cuda", "tpu")
_EXACT: Mapping[str, Any] = {"dtype": "float32", "attention": "einsum", "remat": "none"}


def portable_model(run: Run, *, target: str, towers: str, **image: Any) -> Model:
    """The run's weights in a model whose operations every stack has.

    Args:
        run: whose model.
        target: what messages call the stack.
        towers: "both", "image" or "text".
        **image: settings of the image tower that change no embedding.

    Raises:
        ValueError: the stack cannot run the image tower, or the towers are none by themselves.
    """
    check_portable(run.model.kwargs, target=target, towers=towers)
    return with_settings(run.model, image=image, **_EXACT)


def check_portable(
    kwargs: Mapping[str, Any], *, target: str, towers: str = "both", **settings: Any
) -> None:
    """Raises ValueError where a stack cannot run a model of these arguments, as `portable_model`.

    Args:
        kwargs: keyword arguments of the model.
        target, towers: as in `portable_model`.
        **settings: of the target, none of which matters here.
    """
    if "multiway" in kwargs:
        raise ValueError(
            f"{target} runs towers by themselves, got one transformer that image and text share "
            "(VLMo); use it by vlp.load, or export a model of two towers"
        )
    kind = (kwargs["image"] or {}).get("kind", "vit")
    if towers != "text" and kind not in IMAGE_KINDS:
        raise ValueError(
            f"{target} runs image towers of kind {' or '.join(IMAGE_KINDS)}, got {kind!r}, "
            'whose images have several shapes; export towers="text", or to="hf"'
        )


def tower_function(model: Model, tower: str) -> tuple[Encoder, dict[str, np.ndarray]]:
    """A tower as a function of its parameters, by name, and a batch; and those parameters.

    The function takes bytes `[n, S, S, 3]` or token ids `[n, l]` and returns unit-norm embeddings
    `[n, d]` and tokens `[n, t, w]`. Parameters that are arguments load many times as fast as
    constants inside a graph, and may be of any size.
    """
    kwargs, params = only_tower(model.kwargs, params_of(model), towers=tower)
    for part in ("decoder", "begin_id"):  # of CoCa, which no tower needs
        kwargs.pop(part, None)
    graphdef, state = nnx.split(abstract_model(kwargs))
    names = leaf_names(nnx.to_pure_dict(state))
    shape: Any = jax.tree.structure(nnx.to_pure_dict(state))

    def function(params: Mapping[str, Any], batch: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = nnx.clone(state)
        nnx.replace_by_pure_dict(own, shape.unflatten([params[name] for name in names]))
        model = nnx.merge(graphdef, own)
        if tower == "image":
            return encode_pixels(model, model.normalise(batch))[:2]
        return encode_ids(model, batch)[:2]

    return function, params


def exported_tower(
    model: Model, tower: str, *, batch: int | None = None, platforms: Sequence[str] = PLATFORMS
) -> tuple[jax.export.Exported, dict[str, np.ndarray]]:
    """A tower as StableHLO, a function as that of `tower_function`, and its parameters by name.

    Args:
        model: whose tower.
        tower: "image" or "text".
        batch: number of inputs; None for any, and texts of any length.
        platforms: where it is to run.
    """
    function, params = tower_function(model, tower)
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in params.items()}
    if tower == "image":
        number, size = batch or jax.export.symbolic_shape("batch")[0], model.image.image_size
        given = jax.ShapeDtypeStruct((number, size, size, 3), jnp.uint8)
    elif batch is None:
        given = ids_of_any_shape(model)
    else:
        given = jax.ShapeDtypeStruct((batch, model.text.length), jnp.int32)
    return jax.export.export(jax.jit(function), platforms=platforms)(shapes, given), params


def encode_pixels(
    model: Model, pixels: Float[Array, "n h w 3"]
) -> tuple[Float[Array, "n d"], Float[Array, "n t f"], Float[Array, "n d"]]:
    """Unit-norm embeddings, tokens, and the embeddings before they had unit norm."""
    pooled, tokens = model.image(pixels)
    pooled = pooled if model.image_projection is None else model.image_projection(pooled)
    return unit_norm(pooled), tokens, pooled


def encode_ids(
    model: Model, ids: Int[Array, "n l"]
) -> tuple[Float[Array, "n d"], Float[Array, "n t f"], Float[Array, "n d"]]:
    """Unit-norm embeddings, tokens, and the embeddings before they had unit norm.

    Rows may have any length. Towers to which padding makes a difference get rows of the length
    they were trained with, padded or cut here.
    """
    if not takes_short_rows(model.kwargs["text"]):
        length, pad = model.text.length, model.text.pad_id
        padding = jnp.full((ids.shape[0], length), pad, ids.dtype)
        ids = jnp.concatenate([ids, padding], axis=1)[:, :length]
    pooled, tokens = model.text(ids)
    pooled = pooled if model.text_projection is None else model.text_projection(pooled)
    return unit_norm(pooled), tokens, pooled


def ids_of_any_shape(model: Model) -> jax.ShapeDtypeStruct:
    """Token ids int32 `[batch, sequence]` of as many rows and columns as the tower can take."""
    short = takes_short_rows(model.kwargs["text"])
    limits = [f"sequence <= {model.text.length}"] if short else []
    shape = jax.export.symbolic_shape("batch, sequence", constraints=limits)
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def takes_short_rows(text: Mapping[str, Any]) -> bool:
    """Whether a text tower of these settings gives the same for rows without their padding."""
    if text.get("kind", "transformer") != "transformer":
        return True  # all others hide padding from attention, and from the mean
    hidden = text.get("causal", True) or text.get("mask_padding", False)
    return hidden and text.get("pool", "eot") not in ("last", "cls_last")
