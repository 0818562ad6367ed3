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


def test_the_dual_encoder_trains_alike_on_one_device_and_on_a_mesh():
    towers = dict(width=16, depth=2, num_heads=2)
    kwargs = dict(
        image=dict(image_size=8, patch_size=4, **towers),
        text=dict(vocab_size=32, length=5, **towers),
        embed_dim=8,
    )

    def training(mesh):
        return make_training(
            lambda rngs: DualEncoder(**kwargs, rngs=rngs),
            Clip(contrastive_loss("softmax", mesh=mesh), patch_drop=0.5),
            mesh=mesh,
            optimizer=make_optimizer(schedule=make_schedule(peak=1e-3, steps=10)),
            fsdp_min_elements=64,
        )

    def run(mesh):
        rng = np.random.default_rng(0)
        now = training(mesh)
        state, losses = now.init(), []
        for _ in range(4):
            batch = {
                "image": rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8),
                "text": rng.integers(2, 32, (16, 5), dtype=np.int32),
                "weight": np.ones(16, np.float32),
            }
            batch["text"][:, -1] = 1
            state, metrics = now.step(state, put_batch(batch, mesh))
            losses.append(float(metrics["train/loss"]))
        return losses

    alone = run(make_mesh(devices=jax.devices()[:1]))
    np.testing.assert_allclose(run(make_mesh(fsdp=4)), alone, rtol=1e-4)
