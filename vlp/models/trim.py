"""Captions without the columns that change nothing: most hold far fewer tokens than a row can."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

MULTIPLE = 8  # columns are cut to a multiple of this, so that few shapes have to be compiled


def takes_short_rows(text: Mapping[str, Any]) -> bool:
    """Whether a text tower of these settings gives the same embedding without the padding."""
    if text.get("kind", "transformer") != "transformer":
        return True  # all others hide padding from attention, and from the mean
    hidden = text.get("causal", True) or text.get("mask_padding", False)
    return hidden and text.get("pool", "eot") not in ("last", "cls_last")


def needed_columns(text: Mapping[str, Any], ids: Int[np.ndarray, "n l"]) -> Int[np.ndarray, " n"]:
    """How many columns of each row decide its embedding.

    Args:
        text: settings of the text tower.
        ids: rows of tokens, the end token and padding.
    """
    n, length = ids.shape
    if not takes_short_rows(text):
        return np.full(n, length)
    causal = text.get("kind", "transformer") == "transformer" and text.get("causal", True)
    pool = text.get("pool", "eot")
    if causal and pool == "argmax":
        return ids.argmax(axis=1) + 1
    if causal and pool == "eot":
        ends = ids == text.get("eos_id", 1)
        return np.where(ends.any(axis=1), ends.argmax(axis=1) + 1, length)
    present = ids != text.get("pad_id", 0)
    last = length - present[:, ::-1].argmax(axis=1)
    return np.where(present.any(axis=1), last, 1)


def trimmed(text: Mapping[str, Any], ids: Int[np.ndarray, "n l"]) -> Int[np.ndarray, "n t"]:
    """The rows, cut behind the last column that any of them needs."""
    most = int(needed_columns(text, ids).max(initial=1))
    return ids[:, : min(ids.shape[1], -(-most // MULTIPLE) * MULTIPLE)]
