"""Settings to walk through when a config is planned: each with every other."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from vlp.planning.frontier import Tried
from vlp.planning.plan import Plan
from vlp.planning.saying import Run
from vlp.run.remedies import most_parts
from vlp.run.values import flatten

_FLAGS = {
    "batch": "train.global_batch_size",
    "fsdp": "mesh.fsdp",
    "remat": "model.remat",
    "precision": "model.precision",
}
# What a setting of the whole model is called by the parts that it is handed on to.
_OF_PARTS = {"remat": "remat", "precision": "dtype"}


@dataclasses.dataclass(frozen=True)
class Point:
    """One choice of all settings.

    Attributes:
        settings: by axis, such as "batch".
    """

    settings: Mapping[str, int | str]

    @property
    def flags(self) -> list[str]:
        """Those of `vlp plan` and `vlp train` that set it."""
        return [f"--config.{_FLAGS[axis]}={value}" for axis, value in self.settings.items()]

    @property
    def but_batch(self) -> tuple[Any, ...]:
        """What it shares with points that differ in their batch alone."""
        return tuple(value for axis, value in self.settings.items() if axis != "batch")


def points(
    config: ConfigDict,
    devices: Sequence[Any],
    axes: Sequence[str],
    *,
    changed: Callable[[list[str]], ConfigDict],
) -> list[Point]:
    """All points of a walk; those that differ in their batch alone follow each other, small first.

    Args:
        config: of the whole run.
        devices: those of the machine.
        axes: of "batch" (halved, as it is, doubled), "fsdp", "remat" and "precision".
        changed: the config with further flags.

    Raises:
        ValueError: a part of the model has its own value of what is to be walked.
    """
    others = [axis for axis in axes if axis != "batch"]
    walked = [axis for axis in (*others, "batch") if axis in axes]
    values = {axis: _values(config, axis, devices) for axis in walked}
    for axis in _OF_PARTS.keys() & values.keys():
        for value in values[axis]:
            _check_reaches(Point({axis: value}), axis, changed)
    chosen = (dict(zip(walked, each, strict=True)) for each in itertools.product(*values.values()))
    return [Point({axis: each[axis] for axis in axes}) for each in chosen]


def walk(
    points: Sequence[Point], planned: Callable[[list[str]], tuple[Plan, Run]]
) -> Iterator[Tried]:
    """What comes of each point; what fails is one that says why.

    Of a point that does not fit, those with larger batches are not compiled.

    Args:
        points: from `points`.
        planned: the plan with further flags, and its whole run.
    """
    too_large: dict[tuple[Any, ...], Any] = {}
    for point in points:
        if point.but_batch in too_large:
            size = too_large[point.but_batch]
            yield Tried(point.settings, why=f"not tried, for {size:,} do not fit")
            continue
        try:
            plan, run = planned(point.flags)
        except (ValueError, jax.errors.JaxRuntimeError) as error:
            yield Tried(point.settings, why=str(error).strip().splitlines()[0][:200])
            continue
        if not plan.memory.fits and "batch" in point.settings:
            too_large[point.but_batch] = point.settings["batch"]
        yield Tried(point.settings, plan, run)


def _values(config: ConfigDict, axis: str, devices: Sequence[Any]) -> list[Any]:
    if axis == "batch":
        batch = config.train.global_batch_size
        return [batch // 2, batch, 2 * batch]
    if axis == "fsdp":
        most = most_parts(devices, tensor=config.mesh.get("tensor", 1))
        return sorted({1, config.mesh.get("fsdp", 1), most})
    return ["none", "dots", "full"] if axis == "remat" else ["float32", "bfloat16"]


def _check_reaches(point: Point, axis: str, changed: Callable[[list[str]], ConfigDict]) -> None:
    """Raises ValueError where a part does not take what is said of the whole model."""
    parts = flatten(changed(point.flags).model.to_dict())
    name, wanted = _OF_PARTS[axis], point.settings[axis]
    own = [key for key, value in parts.items() if key.endswith(f".{name}") and value != wanted]
    if own:
        raise ValueError(
            f"--sweep walks {_FLAGS[axis]}, which parts with a value of their own do not take, got "
            f"model.{own[0]}; leave that out of the config, or {axis} out of --sweep"
        )
