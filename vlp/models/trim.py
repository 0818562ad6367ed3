"""Captions without the columns that change nothing: most hold far fewer tokens than a row can."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

MULTIPLE = 8  # columns are cut to a multiple of this, so that few shapes have to be compiled


def takes_short_rows(text: Mapping[str, Any]) -> bool:
    """Whether a text tower of these settings gives the same embedding without the padding."""
    if not _is_transformer(text):
        return True  # BERT and bags of words hide padding from attention, and from the mean
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
    pooled = _pooled_column(text, ids) + 1
    if _is_transformer(text) and text.get("causal", True) and text.get("pool", "eot") != "mean":
        needed = pooled
    else:
        present = ids != text.get("pad_id", 0)
        needed = np.maximum(pooled, length - present[:, ::-1].argmax(axis=1))
    # Where the first token is padding nothing may be visible to it, and then all is, alike.
    return np.where(ids[:, 0] == text.get("pad_id", 0), length, needed)


def trimmed(text: Mapping[str, Any], ids: Int[np.ndarray, "n l"]) -> Int[np.ndarray, "n t"]:
    """The rows, cut behind the last column that any of them needs."""
    most = int(needed_columns(text, ids).max(initial=1))
    return ids[:, : -(-most // MULTIPLE) * MULTIPLE]


def _is_transformer(text: Mapping[str, Any]) -> bool:
    return text.get("kind", "transformer") == "transformer"


def _pooled_column(text: Mapping[str, Any], ids: Int[np.ndarray, "n l"]) -> Int[np.ndarray, " n"]:
    """The column of the token that becomes the embedding; 0 where it is the first, or a mean."""
    pool = text.get("pool", "eot") if _is_transformer(text) else "first"
    if pool == "argmax":
        return ids.argmax(axis=1)
    if pool == "eot":
        return (ids == text.get("eos_id", 1)).argmax(axis=1)
    return np.zeros(len(ids), np.int64)
