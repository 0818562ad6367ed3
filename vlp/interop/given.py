"""What a loaded model is given, checked on the host.

Inside of `jax.jit`, and of arrays that lie in part on other hosts, there is nothing to see.

Pixels and ids that a model was not trained on give embeddings like any others, so nobody notices.
"""

import os
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from vlp.models.naflex import NaflexImages

_LEVELS = 255


def checked_images(images: Any) -> Any:
    """The images, where they can be what `preprocess` returns.

    Raises:
        ValueError: no array `[n, h, w, 3]` (or `NaflexImages`), none in it, or of other values than
            0 to 255.
    """
    pixels = images.patches if isinstance(images, NaflexImages) else images
    if _out_of_sight(pixels):
        return images
    wanted = "encode_image takes pixels 0 to 255 as preprocess(...) makes them"
    if not isinstance(pixels, np.ndarray | jax.Array):
        got = type(pixels).__name__
        raise ValueError(f"{wanted}, got {got}; call preprocess(...) on pictures first")
    square = pixels.ndim in (3, 4) and pixels.shape[-1] == 3  # one picture is its own batch
    if not (square or pixels is not images) or pixels.size == 0:
        raise ValueError(
            f"{wanted}, at least one, [n, h, w, 3], got {list(pixels.shape)}; call "
            "preprocess(...) on pictures first"
        )
    _check_levels(pixels, wanted=wanted)
    return images


def _check_levels(pixels: Any, *, wanted: str) -> None:
    if pixels.dtype == np.uint8:
        return
    low, high = map(float, _range(pixels))
    scaled = pixels.dtype.kind == "f" and 0 < high <= 1
    if pixels.dtype.kind == "b" or scaled or not (low >= 0 and high <= _LEVELS):
        raise ValueError(
            f"{wanted}, got {pixels.dtype} from {low:g} to {high:g}; give those bytes: the model "
            "scales and normalises them itself"
        )


def checked_text(text: Any, *, vocab_size: int) -> Any:
    """The ids, where they can be what `tokenize` returns.

    Raises:
        ValueError: no array `[n, l]` of whole numbers, none in it, or ids that the model does not
            have.
    """
    if _out_of_sight(text):
        return text
    if not isinstance(text, np.ndarray | jax.Array):
        got = type(text).__name__
    elif text.ndim != 2 or text.size == 0 or text.dtype.kind not in "iu":
        got = f"{text.dtype}{list(text.shape)}"
    else:
        low, high = _range(text)
        got = "" if low >= 0 and high < vocab_size else f"ids from {low} to {high}"
    if got:
        raise ValueError(
            f"encode_text takes ids [n, l] from 0 to {vocab_size - 1}, at least one row, got {got};"
            " call tokenize(...) on texts first"
        )
    return text


def _out_of_sight(values: Any) -> bool:
    """Whether this process cannot read them."""
    traced = isinstance(values, jax.core.Tracer)
    return traced or (isinstance(values, jax.Array) and not values.is_fully_addressable)


def _range(values: np.ndarray | jax.Array) -> tuple[Any, Any]:
    """Smallest and largest, by numpy: inside of `jax.jit` operations of jax give no values."""
    values = np.asarray(values)
    return values.min(), values.max()


def captions(texts: Any) -> list[str]:
    """One caption or several as a list.

    Raises:
        ValueError: something is no text.
    """
    texts = [texts] if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
    wrong = [text for text in texts if not isinstance(text, str)]
    if wrong:
        raise ValueError(
            f"tokenize takes a caption or a list of them, each a str, got {wrong[0]!r:.60}; leave "
            "out what has no caption, and decode bytes"
        )
    return texts


def check_source(source: Any, **sizes: Any) -> None:
    """Raises ValueError where a model is not named by a path, or a size is no whole number."""
    if not isinstance(source, str | os.PathLike):
        raise ValueError(
            f"a model must be given by a path or a name such as hf:FOLDER, got {source!r:.60}; "
            "give the workdir of `vlp train` or a folder of weights"
        )
    for name, size in sizes.items():
        whole = isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 1
        if size is not None and not whole:
            raise ValueError(
                f"{name} must be a whole number of at least 1, got {size!r}; leave it out to keep "
                "the model's"
            )
