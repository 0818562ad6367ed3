"""Training on pictures of several shapes: finite, and the same over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models.build import make_model
from vlp.models.naflex import NaflexImages, device_images
from vlp.objectives.siglip import SigLip
from vlp.parallel.ids import id_words
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import put_batch
from vlp.training.optim.optimizers import make_optimizer
from vlp.training.optim.schedules import make_schedule
from vlp.training.setup import make_training

PATCHES, SIDE, ROWS = 6, 2, 16
TOWER = dict(width=16, depth=1, num_heads=2, unroll=1)
KWARGS = dict(
    image=dict(kind="naflex", patch_size=SIDE, num_patches=4, **TOWER),
    text=dict(vocab_size=32, length=4, pool="last", **TOWER),
    embed_dim=16,
    init_scale=10.0,
    init_bias=-10.0,
)
GRIDS = [(2, 3), (3, 2), (1, 6), (1, 1), (2, 2), (1, 4), (5, 1), (1, 3)]


def training(mesh, **settings):
    return make_training(
        functools.partial(_model, KWARGS),
        SigLip(mesh=mesh, **settings),
        mesh=mesh,
        optimizer=make_optimizer(schedule=make_schedule(peak=1e-2, steps=8)),
        fsdp_min_elements=64,
        global_batch_size=ROWS,
    )


def _model(kwargs, rngs):
    return make_model(kwargs, rngs=rngs)


def batch(seed=0):
    """As the loop hands it to the step; the last row is without a picture and does not count."""
    rng = np.random.default_rng(seed)
    parts = [
        ("patches", np.uint8, (PATCHES, 3 * SIDE**2)), ("mask", bool, (PATCHES,)),
        ("grid", np.int32, (2,)),
    ]  # fmt: skip
    rows = np.zeros(ROWS, np.dtype(parts, align=True))
    rows["grid"] = [GRIDS[i % len(GRIDS)] for i in range(ROWS - 1)] + [(1, 1)]
    rows["mask"] = np.arange(PATCHES) < rows["grid"].prod(axis=1)[:, None]
    noise = rng.integers(0, 256, rows["patches"].shape, np.uint8)
    rows["patches"] = np.where(rows["mask"][:, :, None], noise, np.uint8(0))
    weight = np.ones(ROWS, np.float32)
    weight[-1] = 0
    return {
        "image": device_images(rows),
        "text": rng.integers(2, 32, (ROWS, 4), dtype=np.int32),
        "weight": weight,
        "id": id_words(np.arange(ROWS)),
    }


def steps(made, start, count=3):
    """The losses of some steps, and the norms of their gradients."""
    state = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), start, made.abstract)
    found = []
    for seed in range(count):
        given = {name: batch(seed)[name] for name in made.fields}
        state, metrics = made.step(state, put_batch(given, made.mesh))
        assert not metrics["train/skipped"]
        found.append((float(metrics["train/loss"]), float(metrics["grad/l2"])))
    return found


@pytest.fixture(scope="module")
def alone():
    """A state to begin with, and the steps of one device from there."""
    made = training(make_mesh(devices=jax.devices()[:1]))
    start = jax.tree.map(np.array, made.init())
    return start, steps(made, start)


def test_rows_of_the_host_become_images_of_the_device():
    images = batch()["image"]
    assert isinstance(images, NaflexImages)
    assert images.patches.shape == (ROWS, PATCHES, 12) and images.mask.dtype == bool
    assert images.grid[:3].tolist() == [[2, 3], [3, 2], [1, 6]]


def test_gradients_are_finite_and_padding_has_none():
    model = filled(lambda: _model(KWARGS, nnx.Rngs(0)))
    images = jax.tree.map(jnp.asarray, batch()["image"])
    mask = images.mask[:, :, None]

    @jax.jit
    def slopes(patches):
        def loss(patches):
            given = images._replace(patches=patches)
            return jnp.sum(model.embed("image", model.image(given)[0]) ** 3)

        return jax.grad(loss)(patches)

    found = np.asarray(slopes(model.normalise(images).patches))
    assert np.isfinite(found).all()
    assert not np.where(mask, 0, found).any()
    assert (np.abs(np.where(mask, found, 0)).sum(axis=(1, 2)) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "settings"), [(dict(fsdp=4), {}), (dict(), dict(micro_batch_size=8))]
)
def test_steps_over_eight_devices_are_those_of_one(alone, axes, settings):
    start, want = alone
    got = steps(training(make_mesh(**axes), **settings), start)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert len({loss for loss, _ in want}) == 3
