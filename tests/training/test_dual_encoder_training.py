"""The trainer with the models and objectives of the package."""

import jax
import numpy as np

from vlp.models.dual_encoder import DualEncoder
from vlp.objectives.clip import Clip
from vlp.parallel.contrastive import contrastive_loss
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import put_batch
from vlp.training.optimizers import make_optimizer
from vlp.training.schedules import make_schedule
from vlp.training.training import make_training

TOWER = dict(width=16, depth=1, num_heads=2)
MODEL = dict(
    image=dict(image_size=8, patch_size=4, **TOWER),
    text=dict(vocab_size=32, length=5, **TOWER),
    embed_dim=8,
)


def make_tiny_training(mesh):
    return make_training(
        lambda rngs: DualEncoder(**MODEL, rngs=rngs),
        Clip(contrastive_loss("softmax", mesh=mesh), patch_drop=0.5),
        mesh=mesh,
        optimizer=make_optimizer(schedule=make_schedule(peak=1e-3, steps=10)),
        fsdp_min_elements=64,
    )


def batches(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        text = rng.integers(2, 32, (16, 5), dtype=np.int32)
        text[:, -1] = 1
        images = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
        yield {"image": images, "text": text, "weight": np.ones(16, np.float32)}


def losses_from(training, start):
    def place(value, like):  # a copy: the step takes over the memory of its state
        return jax.device_put(np.array(value), like.sharding)

    state, losses = jax.tree.map(place, start, training.abstract), []
    for batch in batches(4):
        state, metrics = training.step(state, put_batch(batch, training.mesh))
        losses.append(float(metrics["train/loss"]))
    return losses


def test_the_dual_encoder_trains_alike_on_one_device_and_on_a_mesh():
    alone = make_tiny_training(make_mesh(devices=jax.devices()[:1]))
    spread = make_tiny_training(make_mesh(fsdp=4))
    start = alone.init()
    np.testing.assert_allclose(losses_from(spread, start), losses_from(alone, start), rtol=1e-4)
