"""Tables of relative positions for other image sizes and text lengths than those of the weights."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

_OF_CLASS = 3  # the last rows of a table, see `vlp.nn.relative`


def resize_relative(
    multiway: Mapping[str, Any], *, grid: tuple[int, int], length: tuple[int, int]
) -> dict[str, Any]:
    """The parameters of a `Multiway` for other inputs, where it has relative positions.

    Distances of patches are interpolated by cubic splines. On a finer grid near distances keep
    their numbers and far ones are stretched, more the farther; on a coarser one the farthest are
    cut off. Of a shorter text the farthest distances are cut off, exactly; those that a longer one
    adds have the number of the farthest there was. The numbers of class tokens and between images
    and texts stay as they are.

    Args:
        multiway: nested dicts of numpy arrays.
        grid: patches along each side of an image, before and after.
        length: the most tokens of a text, before and after.

    References:
        Bao et al., 2022 (BEiT and VLMo), https://github.com/microsoft/unilm/tree/master/vlmo
        (`vlmo_module.py`), for images: followed. It cuts texts, and never makes them longer.
    """

    def stack(params: Mapping[str, Any]) -> dict[str, Any]:
        blocks = params["blocks"]
        if "relative" not in blocks:
            return dict(params)
        tables = dict(blocks["relative"])
        if grid[0] != grid[1]:
            tables["image"] = _of_distances(tables["image"], lambda t: _resize_window(t, *grid))
        if length[0] != length[1]:
            tables["text"] = _of_distances(tables["text"], lambda t: _resize_line(t, *length))
        return {**params, "blocks": {**blocks, "relative": tables}}

    return {**multiway, "lower": stack(multiway["lower"]), "upper": stack(multiway["upper"])}


def _of_distances(
    table: np.ndarray, resize: Callable[[np.ndarray], np.ndarray]
) -> Float[np.ndarray, "layers rows h"]:
    distances, of_class = np.split(table, [table.shape[1] - _OF_CLASS], axis=1)
    resized = resize(distances.astype(np.float64)).astype(table.dtype)
    return np.concatenate([resized, of_class], axis=1)


def _resize_window(
    distances: Float[np.ndarray, "layers rows h"], old: int, new: int
) -> Float[np.ndarray, "layers resized h"]:
    layers, _, heads = distances.shape
    weights = _spline_weights(old - 1, new - 1)
    window = distances.reshape(layers, 2 * old - 1, 2 * old - 1, heads)
    window = np.einsum("ir,jc,brch->bijh", weights, weights, window, optimize=True)
    return window.reshape(layers, -1, heads)


def _resize_line(
    distances: Float[np.ndarray, "layers rows h"], old: int, new: int
) -> Float[np.ndarray, "layers resized h"]:
    if new < old:
        return distances[:, old - new : distances.shape[1] - (old - new)]
    return np.pad(distances, ((0, 0), (new - old, new - old), (0, 0)), mode="edge")


def _spline_weights(old: int, new: int) -> Float[np.ndarray, "resized rows"]:
    """What the numbers at distances -old to old count for those at -new to new."""
    # Imported here: few models have such tables, and every command would wait for it.
    from scipy.interpolate import make_interp_spline

    side = np.concatenate([[0.0], np.cumsum(_ratio(old, new) ** np.arange(old))])
    places = np.concatenate([-side[:0:-1], side])
    # Beyond the farthest distance its number holds.
    wanted = np.clip(np.arange(-new, new + 1.0), places[0], places[-1])
    spline = make_interp_spline(places, np.eye(len(places)), k=min(3, len(places) - 1))
    return spline(wanted)


def _ratio(old: int, new: int) -> float:
    """By how much each step between distances is longer than the one before: `old` steps are to
    reach `new`, as far as the bounds of the authors' code allow.
    """
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        middle = (low + high) / 2
        reached = np.sum(middle ** np.arange(old))
        low, high = (low, middle) if reached > new else (middle, high)
    return middle
