"""A config planned for a machine that is not here."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from vlp.parallel.mesh import make_mesh
from vlp.planning.plan import Plan, plan_step
from vlp.planning.topology import Topology
from vlp.run.build import plan
from vlp.run.fields import batch_shapes
from vlp.training.setup import Training


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A config's training on a machine, before its step is compiled.

    Attributes:
        training: on all devices of the machine.
        shapes: of a global batch, by field.
        low: whether the model computes in a dtype of two bytes.
        steps: of the whole run.
    """

    training: Training
    shapes: Mapping[str, Any]
    low: bool
    steps: int


def prepared(config: ConfigDict, topology: Topology, *, samples_per_epoch: int | None) -> Prepared:
    """The training of a config on a machine.

    Args:
        config: of the whole run.
        topology: the machine.
        samples_per_epoch: pairs in the training data; None where nothing is said in epochs.

    Raises:
        ValueError: as `vlp.run.build.plan`.
    """
    axes = config.mesh.to_dict()
    axes.pop("fsdp_min_elements", None)
    mesh = make_mesh(**axes, devices=topology.devices)
    made = plan(config, samples_per_epoch=samples_per_epoch, mesh=mesh)
    return Prepared(
        training=made.training,
        shapes=batch_shapes(config, made.training.fields),
        low=any(_is_low(each) for each in made.model_kwargs.values()),
        steps=made.steps,
    )


def planned(
    config: ConfigDict,
    topology: Topology,
    *,
    samples_per_epoch: int | None,
    cache: Path | None = None,
) -> tuple[Plan, int]:
    """The plan of a config's step, and how many steps its run has.

    Args:
        config, topology, samples_per_epoch: see `prepared`.
        cache: see `vlp.planning.plan.plan_step`.

    Raises:
        ValueError: as `vlp.run.build.plan`.
    """
    made = prepared(config, topology, samples_per_epoch=samples_per_epoch)
    found = plan_step(made.training, made.shapes, topology, low=made.low, cache=cache)
    return found, made.steps


def _is_low(tower: Any) -> bool:
    return isinstance(tower, dict) and tower.get("dtype", "float32") != "float32"
