"""Our own step for the two towers that all sides compile, as `vlp train` compiles it."""

from typing import Any

from foreign_steps.captured import Step

from experiments import own_data
from vlp.parallel.mesh import make_mesh
from vlp.run.build import plan
from vlp.run.fields import batch_shapes


def traced(
    devices: Any,
    *,
    pairs: int,
    remat: str,
    size: int = 224,
    length: int = 64,
    vocab: int = 32000,
    objective: str = "siglip",
) -> Step:
    """The step traced on a mesh of these devices."""
    config = own_data.get_config(
        f"data=none.tar,model=siglip/ViT-B/16,batch={pairs},res={size},length={length},"
        f"vocab={vocab},dtype=bfloat16,remat={remat}"
    )
    config.objective.name = objective
    mesh = make_mesh(devices=devices)
    training = plan(config, samples_per_epoch=10**9, mesh=mesh).training
    return Step(training.trace(batch_shapes(config, training.fields)), mesh)
