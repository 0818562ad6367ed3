"""What a model says of a picture, by name: what probes learn from."""

import re
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from vlp.models.naflex import NaflexImages

EMBEDDING, POOLED = "embedding", "pooled"
_LAYER = re.compile(r"layer:(-?\d+)(:cls)?")
NAMES = (
    f'"{EMBEDDING}" (unit norm, in the shared space), "{POOLED}" (the tower\'s own vector, before '
    'the projection), "layer:K" (the mean of the patches behind block K, -1 for the last) or '
    '"layer:K:cls" (the class token there)'
)


def check_feature(name: str) -> None:
    """Refuses what is no name of a feature.

    Raises:
      ValueError: says which there are.
    """
    if name not in (EMBEDDING, POOLED) and not _LAYER.fullmatch(name):
        raise ValueError(f"feature must be {NAMES}, got {name!r}")


def lacks(model: Any, name: str) -> str:
    """Why a model has no such feature of pictures; "" where it has.

    Args:
      model: a `vlp.models.base.Model`.
      name: of the feature.
    """
    match, tower = _LAYER.fullmatch(name), model.image
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
    """
    layers = {name: match for name in names if (match := _LAYER.fullmatch(name))}
    encoded = model.encode_image(images) if len(layers) < len(names) else None
    states: Any = model.hidden_states("image", images) if layers else None
    found = []
    for name in names:
        if name not in layers:
            found.append(getattr(encoded, name).astype(jnp.float32))
            continue
        index, token = layers[name].groups()
        found.append(_of_tokens(states[int(index)], model.image, images, first=bool(token)))
    return tuple(found)


def _of_tokens(tokens: Array, tower: Any, images: Any, *, first: bool) -> Array:
    tokens = tokens.astype(jnp.float32)
    if first:
        return tokens[:, 0]
    if isinstance(images, NaflexImages):  # padding means nothing
        real = images.mask.astype(jnp.float32)[:, :, None]
        return (tokens * real).sum(axis=1) / jnp.maximum(real.sum(axis=1), 1)
    return tokens[:, getattr(tower, "class_token", None) is not None :].mean(axis=1)
