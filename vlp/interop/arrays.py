"""Copies of large arrays that are fast to make and that JAX takes over without another copy."""

from collections.abc import Sequence

import numpy as np

_ALIGNMENT = 64  # bytes; the buffers of a CPU device begin at multiples of it
_TILE = 128  # a transposed copy by squares of this side stays in the cache


def settled(array: np.ndarray) -> np.ndarray:
    """The array in the order of its axes and well aligned: itself, or a copy."""
    if array.flags.c_contiguous and array.ctypes.data % _ALIGNMENT == 0:
        return array
    out = empty(array.shape)
    copy_into(out, array)
    return out


def stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """`numpy.stack` with a settled result."""
    out = empty((len(arrays), *arrays[0].shape))
    for place, array in zip(out, arrays, strict=True):
        copy_into(place, array)
    return out


def empty(shape: Sequence[int]) -> np.ndarray:
    """An aligned float32 array, not filled."""
    size = int(np.prod(shape)) * 4
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].view(np.float32).reshape(shape)


def copy_into(out: np.ndarray, array: np.ndarray) -> None:
    """`out[...] = array`, by tiles where the last axis of the source is not its innermost."""
    if array.ndim < 2 or array.strides[-1] == array.itemsize:
        out[...] = array
    elif array.ndim > 2:
        for place, part in zip(out, array, strict=True):
            copy_into(place, part)
    else:
        for row in range(0, array.shape[0], _TILE):
            for column in range(0, array.shape[1], _TILE):
                tile = (slice(row, row + _TILE), slice(column, column + _TILE))
                out[tile] = array[tile]
