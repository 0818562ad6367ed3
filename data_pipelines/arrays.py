"""Arrays of any library as pictures: one layout, or a refusal that says what to do."""

from typing import Any

import numpy as np

_CHANNELS = (1, 3, 4)
_TO_BYTES = {
    "f": "(x * 255).round().astype('uint8') if it holds 0..1, before any mean is subtracted",
    "b": "x.astype('uint8') * 255",
    "i": "x.astype('uint8') if it holds 0..255",
    "u": "x.astype('uint8') if it holds 0..255, (x >> 8).astype('uint8') if 0..65535",
}


def is_array(value: Any) -> bool:
    """Whether it is an array of NumPy, JAX, PyTorch, TensorFlow or a library alike."""
    return hasattr(value, "dtype") and hasattr(value, "shape")


def as_numpy(array: Any) -> np.ndarray:
    """The array as NumPy's.

    Raises:
      ValueError: it cannot be had on the host as it is.
    """
    try:
        return np.asarray(array)
    except Exception as error:  # of PyTorch: another device, a gradient, a type NumPy lacks
        raise ValueError(
            f"an image array must be readable by NumPy, got {type(array).__module__}."
            f"{type(array).__name__} ({error}); hand over x.detach().cpu() of a tensor"
        ) from error


def channels_last(array: np.ndarray) -> np.ndarray:
    """A picture `[h, w, c]`, or a batch of them `[n, h, w, c]`; c is 1, 3 or 4.

    Args:
      array: uint8 `[h, w]`, `[h, w, c]`, `[c, h, w]`, `[n, h, w, c]` or `[n, c, h, w]`.

    Raises:
      ValueError: another type or shape, no pixel, or a shape that may be read in two ways.
    """
    shape = list(array.shape)
    if array.dtype != np.uint8:
        remedy = _TO_BYTES.get(array.dtype.kind, "x.astype('uint8')")
        raise ValueError(
            f"an image array must be uint8, 0..255; got {array.dtype} {shape}; hand over {remedy}"
        )
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim in (3, 4):
        array = _last(array)
    else:
        raise ValueError(_shapes(shape))
    if 0 in array.shape[-3:]:
        raise ValueError(f"an image needs at least one pixel, got shape {shape}")
    return array


def _last(array: np.ndarray) -> np.ndarray:
    shape = list(array.shape)
    last, first = shape[-1] in _CHANNELS, shape[-3] in _CHANNELS
    if last and first:
        raise ValueError(
            f"an image array must show where its channels are; the shape {shape} may be read as "
            "channels first or last; hand over PIL.Image.fromarray(x) of [h, w] or [h, w, 3 or 4]"
        )
    if last:
        return array
    if first:
        return np.moveaxis(array, -3, -1)
    raise ValueError(_shapes(shape))


def _shapes(shape: list[int]) -> str:
    return (
        "an image array must be [h, w], [h, w, c] or [c, h, w], and a batch [n, h, w, c] or "
        f"[n, c, h, w], with c = 1, 3 or 4 channels; got shape {shape}"
    )
