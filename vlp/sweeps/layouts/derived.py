"""Labels that VTAB makes of what a set says of its pictures, by name.

References:
    Zhai et al., 2019 (VTAB), https://arxiv.org/abs/1910.04867;
    https://github.com/google-research/task_adaptation, data/clevr.py and data/kitti.py.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_CLEVR = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)
_KITTI = (-100.0, 8.0, 20.0, 999.0)
_VEHICLES = 3  # types below are cars, vans and trucks
_NO_VEHICLE = 1000.0


def clevr_count(meta: Mapping[str, Any]) -> int:
    """How many things there are, less three: 0..7."""
    return len(meta["objects"]["size"]) - 3


def clevr_distance(meta: Mapping[str, Any]) -> int:
    """How far the nearest thing is: 0..5."""
    return _bin(min(float(place[2]) for place in meta["objects"]["pixel_coords"]), _CLEVR)


def kitti_distance(meta: Mapping[str, Any]) -> int:
    """How far the nearest vehicle is, in metres from the camera: 0..2; 3 without one."""
    found = meta["objects"]
    far = [
        float(place[2])
        for kind, place in zip(found["type"], found["location"], strict=True)
        if kind < _VEHICLES
    ]
    return _bin(min([*far, _NO_VEHICLE]), _KITTI)


DERIVED: Mapping[str, Callable[[Mapping[str, Any]], int]] = {
    "clevr_count": clevr_count,
    "clevr_distance": clevr_distance,
    "kitti_distance": kitti_distance,
}


def _bin(value: float, limits: tuple[float, ...]) -> int:
    """The last of the limits that is below a value."""
    return int(np.flatnonzero(np.asarray(limits) < value).max())
