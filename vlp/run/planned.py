"""A config planned for a machine that is not here."""

from typing import Any

from ml_collections import ConfigDict

from vlp.parallel.mesh import make_mesh
from vlp.planning.plan import Plan, plan_step
from vlp.planning.topology import Topology
from vlp.run.build import plan
from vlp.run.fields import batch_shapes


def planned(
    config: ConfigDict, topology: Topology, *, samples_per_epoch: int | None
) -> tuple[Plan, int]:
    """The plan of a config's step, and how many steps its run has.

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
    shapes = batch_shapes(config, made.training.fields)
    low = any(_is_low(each) for each in made.model_kwargs.values())
    return plan_step(made.training, shapes, topology, low=low), made.steps


def _is_low(tower: Any) -> bool:
    return isinstance(tower, dict) and tower.get("dtype", "float32") != "float32"
