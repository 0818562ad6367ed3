"""Texts of several captions a row, `[n, k, l]`, with -1 in place of those that a sample lacks."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from vlp.models.base import Encoded


def encode_captions(model: Any, text: Int[Array, "n *k l"]) -> Encoded:
    """What `encode_text` returns for one caption a row, or arrays `[n, k, ...]` for several.

    The tower goes through all captions at once; what it says of those that are absent is finite and
    means nothing.
    """
    if text.ndim == 2:
        return model.encode_text(text)
    *rows, length = text.shape
    found = model.encode_text(jnp.maximum(text, 0).reshape(-1, length))
    return jax.tree.map(lambda x: x.reshape(*rows, *x.shape[1:]), found)


def present_captions(text: Int[Array, "n k l"]) -> Bool[Array, "n k"]:
    """Which captions there are."""
    return text[:, :, 0] >= 0
