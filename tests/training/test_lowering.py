"""A step compiles without data and parameters, for meshes that are here and that are not."""

import jax
import numpy as np
import pytest
from toy import device_batch, make_toy_training

from vlp.models.dual_encoder import DualEncoder
from vlp.objectives.clip import Clip
from vlp.parallel.mesh import abstract_mesh, make_mesh
from vlp.training.optim.optimizers import make_optimizer
from vlp.training.optim.schedules import make_schedule
from vlp.training.setup import make_training

LARGE = dict(
    image=dict(image_size=224, patch_size=14, width=1024, depth=24, num_heads=16),
    text=dict(vocab_size=49408, length=77, width=768, depth=12, num_heads=12),
    embed_dim=768,
)


def shapes(batch, *, count=None):
    """Those of a batch of as many rows, or of so many."""
    return {
        name: jax.ShapeDtypeStruct((count or len(rows), *rows.shape[1:]), rows.dtype)
        for name, rows in batch.items()
    }


def test_eight_devices_report_memory_and_cost_before_any_data():
    training = make_toy_training(mesh=make_mesh(fsdp=8))
    compiled = training.lower(shapes(device_batch(0))).compile()
    memory = compiled.memory_analysis()
    state = sum(
        leaf.dtype.itemsize * leaf.size // (8 if leaf.sharding.spec != () else 1)
        for leaf in jax.tree.leaves(training.abstract)
    )
    assert memory.argument_size_in_bytes >= state
    assert memory.alias_size_in_bytes >= 0.9 * state  # the state's memory is taken over
    assert compiled.cost_analysis()["flops"] > 0


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_a_mesh_without_devices_lowers(platform):
    training = make_toy_training(mesh=abstract_mesh(data=4, fsdp=64))
    batch = shapes(device_batch(0), count=512)
    text = training.lower(batch, platforms=[platform]).as_text()
    assert '"data"=4, "fsdp"=64' in text


def test_a_vit_l14_step_lowers_without_allocating():
    mesh = make_mesh(fsdp=8)
    before = sum(array.nbytes for array in jax.live_arrays())
    training = make_training(
        lambda rngs: DualEncoder(**LARGE, rngs=rngs),
        Clip(mesh=mesh),
        mesh=mesh,
        optimizer=make_optimizer(schedule=make_schedule(peak=1e-3, steps=100)),
        global_batch_size=4096,
        ema_decay=0.999,
    )
    rows = dict(
        weight=np.zeros(1, np.float32),
        image=np.zeros((1, 224, 224, 3), np.uint8),
        text=np.zeros((1, 77), np.int32),
    )
    lowered = training.lower(shapes(rows, count=4096))
    state = jax.tree.leaves(lowered.args_info[0][0])
    assert sum(leaf.shape != () and leaf._aval.size for leaf in state) > 4 * 400e6
    assert sum(array.nbytes for array in jax.live_arrays()) - before < 1e6
