"""What a model says of a picture, by name: what probes learn from."""

import re
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from vlp.models.naflex import NaflexImages
from vlp.models.protocols import ReadsFrozen
from vlp.models.vit import QUERY_POOLS, VisionTransformer

EMBEDDING, POOLED = "embedding", "pooled"
PATCHES, PATCH_VALUES = "patches", "patches:values"
OF_PATCHES = (PATCHES, PATCH_VALUES)
_LAYER = re.compile(r"layer:(-?\d+)(:cls)?")
NAMES = (
    f'"{EMBEDDING}" (unit norm, in the shared space), "{POOLED}" (the tower\'s own vector, before '
    'the projection), "layer:K" (the mean of the patches behind block K, -1 for the last), '
    '"layer:K:cls" (the class token there), "patches" (each patch as if it were pooled alone, in '
    'the shared space) or "patches:values" (the same, each alone in the last block, too)'
)


def check_feature(name: str) -> None:
    """Refuses what is no name of a feature.

    Raises:
      ValueError: says which there are.
    """
    if name not in (EMBEDDING, POOLED, *OF_PATCHES) and not _LAYER.fullmatch(name):
        raise ValueError(f"feature must be {NAMES}, got {name!r}")


def lacks(model: Any, name: str) -> str:
    """Why a model has no such feature of pictures; "" where it has.

    Args:
      model: a `vlp.models.base.Model`.
      name: of the feature.
    """
    match, tower = _LAYER.fullmatch(name), model.image
    if name in OF_PATCHES:
        return _lacks_patches(model)
    if not match:
        return ""
    kind = type(tower).__name__
    if not hasattr(tower, "hidden_states"):
        return f"the image tower is a {kind}, which has no hidden layers to look at"
    depth = (model.kwargs.get("image") or {}).get("depth")
    if depth is not None and not -depth - 1 <= int(match[1]) <= depth:
        return f"the image tower has {depth} blocks, layer:{match[1]} is beyond; 0 is what enters"
    if match[2] and getattr(tower, "class_token", None) is None:
        return f"the image tower, a {kind}, has no class token; take layer:{match[1]}"
    return ""


def features(model: Any, images: Any, names: tuple[str, ...]) -> tuple[Float[Array, "n *q f"], ...]:
    """Features of pictures, float32.

    Args:
      model: that encodes pictures.
      images: as its image tower takes them.
      names: of features.

    Returns:
      One array a name: `[n, f]`, or `[n, q, d]` of several embeddings an image, or of its patches.
    """
    layers = {name: match for name in names if (match := _LAYER.fullmatch(name))}
    encoded = None if {*names} <= {*layers, *OF_PATCHES} else model.encode_image(images)
    states: Any = model.hidden_states("image", images) if layers else None
    found = []
    for name in names:
        if name in OF_PATCHES:
            found.append(_patches(model, images, last_alone=name == PATCH_VALUES))
            continue
        if name not in layers:
            found.append(getattr(encoded, name).astype(jnp.float32))
            continue
        index, token = layers[name].groups()
        found.append(_of_tokens(states[int(index)], model.image, images, first=bool(token)))
    return tuple(found)


def _lacks_patches(model: Any) -> str:
    tower = model.image
    if not isinstance(tower, VisionTransformer):
        kind = type(tower).__name__
        return f"the image tower is a {kind}, and only a VisionTransformer has vectors of patches"
    if tower.pool in QUERY_POOLS:
        return f"the image tower pools by {tower.pool!r}, queries that read all patches together"
    if isinstance(model, ReadsFrozen) or model.kwargs.get("image_projection", "") is None:
        return "its embeddings are no projection of what the image tower pools"
    return "" if tower.stack is not None else "the image tower's blocks are those of another tower"


def _patches(model: Any, images: Any, *, last_alone: bool) -> Float[Array, "n p d"]:
    vectors = model.image.patch_vectors(model.normalise(images), last_alone=last_alone)
    return model.embed("image", vectors)


def _of_tokens(tokens: Array, tower: Any, images: Any, *, first: bool) -> Array:
    tokens = tokens.astype(jnp.float32)
    if first:
        return tokens[:, 0]
    if isinstance(images, NaflexImages):  # padding means nothing
        real = images.mask.astype(jnp.float32)[:, :, None]
        return (tokens * real).sum(axis=1) / jnp.maximum(real.sum(axis=1), 1)
    return tokens[:, getattr(tower, "class_token", None) is not None :].mean(axis=1)
