"""The trainer with the models and objectives of the package."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models.build import make_model
from vlp.objectives.albef import Albef
from vlp.objectives.blip import Blip
from vlp.objectives.blip2 import Blip2
from vlp.objectives.clip import Clip
from vlp.objectives.coca import Coca
from vlp.objectives.distillation import Distillation
from vlp.objectives.imagebind import ImageBind
from vlp.objectives.vlmo import Vlmo
from vlp.parallel.ids import id_words
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import put_batch
from vlp.run.frozen import abstract_frozen
from vlp.training import step
from vlp.training.checkpoint.checkpoints import Checkpoints, load_params
from vlp.training.optim.optimizers import make_optimizer
from vlp.training.optim.schedules import make_schedule
from vlp.training.setup import make_training

TOWER = dict(width=16, depth=1, num_heads=2)
IMAGE = dict(image_size=8, patch_size=4, **TOWER)
TEXT = dict(vocab_size=32, length=5, **TOWER)
CLIP = dict(image=IMAGE, text=TEXT, embed_dim=8)
COCA = dict(
    image=IMAGE | dict(pool="queries", queries=dict(width=16, num_queries=3, num_heads=2)),
    text=TEXT | dict(pool="cls_last"),
    decoder=dict(depth=1, num_heads=2),
    embed_dim=8,
)
ALBEF = dict(
    image=IMAGE,
    text=dict(kind="bert", vocab_size=32, length=5, pooler=False, **TOWER),
    fusion=dict(depth=1, num_heads=2),
    embed_dim=8,
)
BLIP = dict(
    image=IMAGE,
    text=dict(kind="bert", vocab_size=32, length=5, num_types=None, pooler=False, **TOWER),
    modes=("encode", "decode"),
    end_id=1,
    embed_dim=8,
)
BLIP2 = dict(
    kind="blip2",
    image=dict(kind="frozen", image_size=8, width=16),
    text=dict(BLIP["text"], depth=2),
    num_queries=3,
    end_id=1,
    embed_dim=8,
)
VLMO = dict(
    image=dict(kind="patches", image_size=8, patch_size=4, width=16),
    text=dict(kind="words", vocab_size=32, length=5, width=16),
    multiway=dict(depth=2, num_heads=2, fused_from=1),
    embed_dim=8,
)
BOUND = dict(
    kind="bound",
    image=IMAGE,
    text=TEXT,
    audio=dict(frames=8, n_mels=8, patch_size=(4, 4), **TOWER),
    embed_dim=8,
    pairs=("image-text", "image-audio"),
)
TRUNK = BOUND | dict(trunk="image")
MODELS = {
    "clip": CLIP,
    "coca": COCA,
    "albef": ALBEF,
    "blip": BLIP,
    "blip2": BLIP2,
    "vlmo": VLMO,
    "distillation": CLIP,
    "bound": BOUND,
    "trunk": TRUNK,
}
# What runs look at: of the student's width behind its projections, and of another within; and a
# tower alone.
FROZEN = {
    "distillation": dict(
        teacher=CLIP | dict(image=IMAGE | dict(width=56), text=TEXT | dict(width=56))
    ),
    "blip2": dict(image=dict(image=IMAGE, text=None, embed_dim=4)),
}
OBJECTIVES = {
    "clip": functools.partial(Clip, patch_drop=0.5),
    "coca": functools.partial(Coca, patch_drop=0.5),
    "albef": functools.partial(Albef, mask_id=31, queue_size=32, ramp=2, momentum_decay=0.9),
    "blip": functools.partial(Blip, queue_size=32, ramp=2, momentum_decay=0.9),
    "blip2": Blip2,
    "vlmo": functools.partial(Vlmo, mask_id=31, pair_contrast=0.0),
    "distillation": functools.partial(Distillation, feature_weight=8.0, patch_drop=0.5),
    "bound": ImageBind,
    "trunk": ImageBind,
}

KINDS = [pytest.param(kind, marks=[pytest.mark.slow] * (kind != "clip")) for kind in MODELS]


def make_tiny_training(kind, mesh, *, kwargs=None, rows=16, **settings):
    frozen = FROZEN.get(kind, {})
    training = make_training(
        functools.partial(model_of, kwargs or MODELS[kind]),
        OBJECTIVES[kind](mesh=mesh),
        mesh=mesh,
        optimizer=make_optimizer(schedule=make_schedule(peak=1e-3, steps=10)),
        fsdp_min_elements=64,
        global_batch_size=rows,
        frozen={name: abstract_frozen(each) for name, each in frozen.items()},
        **settings,
    )
    return training.with_frozen({name: filled_params(each) for name, each in frozen.items()})


def filled_params(kwargs):
    return nnx.to_pure_dict(nnx.state(filled(lambda: model_of(kwargs, nnx.Rngs(0)))))


def model_of(kwargs, rngs):
    return make_model(kwargs, rngs=rngs)


def batches(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        text = rng.integers(2, 32, (16, 5), dtype=np.int32)
        text[:, -1] = 1
        text[:4, 2:] = [1, 0, 0]
        images = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
        weight, ids = np.ones(16, np.float32), id_words(np.arange(16) % 12)
        batch = {"image": images, "text": text, "weight": weight, "id": ids}
        heard = np.arange(16) % 4 == 1
        batch["audio"] = rng.normal(size=(16, 8, 8)).astype(np.float32) * heard[:, None, None]
        yield batch | {
            "present/image": heard | True,
            "present/text": ~heard,
            "present/audio": heard,
        }


def placed(training, state):
    def place(value, like):  # a copy: the step takes over the memory of its state
        return jax.device_put(np.array(value), like.sharding)

    return jax.tree.map(place, state, training.abstract)


def train(training, state, these):
    losses = []
    for batch in these:
        wanted = {name: batch[name] for name in training.fields}
        state, metrics = training.step(state, put_batch(wanted, training.mesh))
        losses.append(float(metrics["train/loss"]))
    return losses, state


@pytest.mark.parametrize(
    ("kind", "axes"),
    [
        *(pytest.param(*kind.values, dict(fsdp=4), marks=kind.marks) for kind in KINDS),
        *(pytest.param(*kind.values, dict(fsdp=2, tensor=2), marks=kind.marks) for kind in KINDS),
        pytest.param("bound", {}, marks=pytest.mark.slow),
    ],
)
def test_a_model_trains_alike_on_one_device_and_on_a_mesh(kind, axes):
    alone = make_tiny_training(kind, make_mesh(devices=jax.devices()[:1]))
    spread = make_tiny_training(kind, make_mesh(**axes))
    start = alone.init()
    (got, state), (want, lonely) = (
        train(training, placed(training, start), batches(4)) for training in (spread, alone)
    )
    np.testing.assert_allclose(got, want, rtol=1e-4)
    # The queue holds what the momentum made of the batches.
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=1e-4), state.carry, lonely.carry
    )


@pytest.mark.parametrize(
    ("kind", "axes"),
    [
        ("clip", dict()),
        pytest.param("clip", dict(data=4, fsdp=2), marks=pytest.mark.slow),
        pytest.param("clip", dict(fsdp=8), marks=pytest.mark.slow),
        pytest.param("clip", dict(tensor=2), marks=pytest.mark.slow),
        pytest.param("clip", dict(fsdp=4, tensor=2), marks=pytest.mark.slow),
        pytest.param("coca", dict(data=4, fsdp=2), marks=pytest.mark.slow),
        pytest.param("distillation", dict(data=2, fsdp=4), marks=pytest.mark.slow),
        pytest.param("albef", dict(data=4, tensor=2), marks=pytest.mark.slow),
    ],
)
def test_micro_batches_on_a_mesh_train_as_the_whole_batch_does_on_one_device(
    kind, axes, monkeypatch
):
    alone = make_tiny_training(kind, make_mesh(devices=jax.devices()[:1]))
    start = alone.init()
    want, _ = train(alone, placed(alone, start), batches(4))
    in_parts = functools.partial(OBJECTIVES[kind], micro_batch_size=8)
    monkeypatch.setitem(OBJECTIVES, kind, in_parts)
    spread = make_tiny_training(kind, make_mesh(**axes))
    got, _ = train(spread, placed(spread, start), batches(4))
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_micro_batches_on_three_divided_axes_are_refused():
    with pytest.raises(ValueError, match="got 8 on data 2 x fsdp 2 x tensor 2; set one of the ax"):
        Clip(mesh=make_mesh(fsdp=2, tensor=2), micro_batch_size=8)


def test_heads_that_a_tensor_axis_does_not_divide_are_refused_with_what_does():
    with pytest.raises(ValueError, match=r"got 4 for the 2 of image/.*attention; try 1, 2"):
        make_tiny_training("clip", make_mesh(tensor=4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_goes_on_from_a_checkpoint_to_the_bit(kind, tmp_path):
    training = make_tiny_training(kind, make_mesh(fsdp=4))
    want, whole = train(training, training.init(), batches(4))
    first, second = list(batches(4))[:2], list(batches(4))[2:]
    before, state = train(training, training.init(), first)
    checkpoints = Checkpoints(tmp_path / "checkpoints", config={}, card={})
    checkpoints.save(2, state)
    checkpoints.close()
    again = Checkpoints(tmp_path / "checkpoints")
    restored = again.restore(training.abstract)
    again.close()
    after, resumed = train(training, restored.state, second)
    assert before + after == want
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)


@pytest.mark.slow
def test_a_frozen_trunk_stays_and_the_other_towers_learn_through_it():
    training = make_tiny_training("trunk", make_mesh(fsdp=4), freeze=("image/stack/.*",))
    start = training.init()
    before = jax.tree.map(np.asarray, start.params)
    losses, state = train(training, start, batches(6))
    after = jax.tree.map(np.asarray, state.params)
    jax.tree.map(np.testing.assert_array_equal, after["image"]["stack"], before["image"]["stack"])
    for name in ("text", "audio"):
        assert "stack" not in after[name]
        assert not np.array_equal(after[name]["positions"], before[name]["positions"])
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_a_frozen_tower_is_divided_over_the_mesh_and_not_in_the_checkpoint(tmp_path):
    training = make_tiny_training("blip2", make_mesh(fsdp=4))
    kernel = training.frozen["image"]["image"]["stack"]["blocks"]["mlp"]["up"]["kernel"]
    assert "fsdp" in kernel.sharding.spec
    checkpoints = Checkpoints(tmp_path / "checkpoints", config={}, card={})
    checkpoints.save(0, training.init())
    checkpoints.close()
    saved = load_params(tmp_path / "checkpoints" / "0")
    assert "image" not in saved and set(saved) > {"image_norm", "querying", "text"}


def test_looking_out_for_steps_that_are_not_finite_keeps_no_second_state(monkeypatch):
    """The optimiser's part of the step is the largest here: two pairs, wide towers."""

    def wide(kwargs):
        return {
            name: wide(value) if isinstance(value, dict) else 256 if name == "width" else value
            for name, value in kwargs.items()
        }

    def memory():
        mesh = make_mesh(devices=jax.devices()[:1])
        training = make_tiny_training("clip", mesh, kwargs=wide(MODELS["clip"]), rows=2)
        batch = next(batches(1))
        shapes = {
            name: jax.ShapeDtypeStruct((2, *batch[name].shape[1:]), batch[name].dtype)
            for name in training.fields
        }
        found = training.lower(shapes).compile().memory_analysis()
        return found.temp_size_in_bytes + found.argument_size_in_bytes

    guarded = memory()
    monkeypatch.setattr(jnp, "isfinite", lambda x: jnp.array(True))
    monkeypatch.setattr(step, "_once", lambda go, update, before: update(before[0]))
    assert guarded <= 1.05 * memory()
