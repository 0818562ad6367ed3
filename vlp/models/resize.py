"""Learned positions for other image sizes and text lengths than those of the weights."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from vlp.models.resize_relative import resize_relative
from vlp.models.resnet import REDUCTION


def resize_positions(
    kwargs: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    image_size: int | None = None,
    text_length: int | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A dual encoder's keyword arguments and parameters for other inputs.

    Positions of patches are resized as a picture is: bicubic (a = -0.5), with antialiasing where
    the grid shrinks. Positions of text are cut off at the end for a shorter text, so that a
    causal tower keeps its outputs, and interpolated linearly between the centres of their places
    for a longer one. The position of a class token stays as it is. Towers without a table of
    positions (fixed sines, bags of words) only change their setting. For relative positions see
    `vlp.models.resize_relative`.

    open_clip resizes patches likewise, and interpolates text in both directions.

    Args:
        kwargs: of `DualEncoder`.
        params: its parameters, nested dicts of numpy arrays.
        image_size: pixels along each side, or None for no change.
        text_length: tokens, or None for no change.

    Returns:
        New keyword arguments and parameters; the given ones are left as they are, and arrays that
        do not change are shared.

    Raises:
        ValueError: when there is no such tower, or its patches do not fill the size.
    """
    new_kwargs, new_params = dict(kwargs), dict(params)
    for name, value, resize in (
        ("image", image_size, _resize_image),
        ("text", text_length, _resize_text),
    ):
        if value is None:
            continue
        if kwargs[name] is None:
            raise ValueError(
                f"there is no {name} tower to resize, got {value} for it; leave it out"
            )
        new_kwargs[name], new_params[name] = resize(kwargs[name], params[name], value)
    if "multiway" in kwargs:
        new_params["multiway"] = resize_relative(
            params["multiway"],
            grid=(_grid(kwargs["image"]), _grid(new_kwargs["image"])),
            length=(kwargs["text"]["length"], new_kwargs["text"]["length"]),
        )
    return new_kwargs, new_params


def _grid(tower: Mapping[str, Any]) -> int:
    return tower["image_size"] // tower["patch_size"]


def _resize_image(tower: Mapping[str, Any], params: Mapping[str, Any], image_size: int) -> tuple:
    kind = tower.get("kind", "vit")
    if kind == "naflex":
        raise ValueError(
            'an image tower of kind "naflex" takes images of any size, got image_size '
            f"{image_size}; leave it out and cut images into more or fewer patches"
        )
    pixels = REDUCTION if kind == "resnet" else tower["patch_size"]
    old, new = tower["image_size"] // pixels, image_size // pixels
    same_patches = new == old and kind != "resnet"  # SigLIP So400m/14 at 384, read as 378
    if new < 1 or (image_size % pixels and not same_patches):
        lower = max(new, 1) * pixels
        raise ValueError(
            f"image_size must divide by {pixels}, got {image_size}; try {lower} or {lower + pixels}"
        )

    def resize(table: np.ndarray) -> np.ndarray:
        return _resize_grid(table, old, new)

    if kind == "resnet":
        resized = {**params, "head": _with_positions(params["head"], resize)}
    else:
        resized = _with_positions(params, resize)
    return {**tower, "image_size": image_size}, resized


def _resize_text(tower: Mapping[str, Any], params: Mapping[str, Any], length: int) -> tuple:
    if length < 1:
        raise ValueError(f"text_length must be at least 1, got {length}")
    last = tower.get("pool") == "cls_last"

    def resize(table: np.ndarray) -> np.ndarray:
        return _resize_rows(table, tower["length"], length, class_last=last)

    return {**tower, "length": length}, _with_positions(params, resize)


def _with_positions(
    params: Mapping[str, Any], resize: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
    if "positions" not in params:
        return dict(params)
    return {**params, "positions": resize(params["positions"])}


def _resize_grid(table: np.ndarray, old: int, new: int) -> np.ndarray:
    """The `old x old` last rows resized to `new x new`, those before them kept."""
    first, grid = np.split(table, [len(table) - old * old])
    weights = _cubic_weights(old, new)
    grid = grid.reshape(old, old, -1).astype(np.float64)
    grid = np.einsum("ir,jc,rcw->ijw", weights, weights, grid, optimize=True)
    return np.concatenate([first, grid.reshape(new * new, -1).astype(table.dtype)])


def _resize_rows(table: np.ndarray, old: int, new: int, *, class_last: bool) -> np.ndarray:
    """The `old` rows that are no class token's cut or interpolated to `new`."""
    at = 0 if class_last else len(table) - old
    first, rows, last = np.split(table, [at, at + old])
    if new <= old:
        rows = rows[:new]
    else:
        rows = (_linear_weights(old, new) @ rows.astype(np.float64)).astype(table.dtype)
    return np.concatenate([first, rows, last])


def _cubic_weights(old: int, new: int) -> Float[np.ndarray, "new old"]:
    step = old / new
    centre = (np.arange(new)[:, None] + 0.5) * step
    x = np.abs(np.arange(old)[None] + 0.5 - centre) / max(step, 1)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return weights / weights.sum(1, keepdims=True)


def _linear_weights(old: int, new: int) -> Float[np.ndarray, "new old"]:
    centre = np.clip((np.arange(new)[:, None] + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(1 - np.abs(np.arange(old)[None] - centre), 0)
