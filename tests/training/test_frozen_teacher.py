"""What a step with a frozen teacher compiles to: its forward pass, and nothing else of it."""

import re

import jax
import numpy as np
import pytest
from flax import nnx

from tests.training.test_dual_encoder_training import (
    CLIP,
    FROZEN,
    batches,
    make_tiny_training,
    model_of,
    placed,
    train,
)
from vlp.nn.batch_norm import learns_statistics
from vlp.objectives.clip import Clip
from vlp.parallel.mesh import make_mesh
from vlp.training.optim.optimizers import make_optimizer
from vlp.training.optim.schedules import make_schedule
from vlp.training.setup import make_training
from vlp.training.state import abstract_model

WIDTH = 56  # of the teacher alone


@pytest.fixture(scope="module")
def alone():
    return make_tiny_training("distillation", make_mesh(devices=jax.devices()[:1]))


def products(compiled):
    """The shapes of the matrix products of a program that have the teacher's width, sorted."""
    found = re.findall(r"= \w+\[([\d,]+)\]\S* dot\(", compiled.as_text())
    return sorted(shape for shape in found if {str(WIDTH), str(4 * WIDTH)} & {*shape.split(",")})


def test_the_teacher_is_run_forwards_and_never_back(alone):
    batch = {name: next(batches(1))[name] for name in alone.fields}
    shapes = {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in batch.items()}
    step = alone.lower(shapes).compile()

    @jax.jit
    def forwards(params, images, text):
        teacher = nnx.merge(alone.recipe.foreign["teacher"], params)
        return teacher.encode_image(images).embedding, teacher.encode_text(text).embedding

    once = forwards.lower(alone.frozen["teacher"], shapes["image"], shapes["text"]).compile()
    assert products(step) == products(once) != []


def test_nothing_of_the_teacher_is_in_the_state(alone):
    without = make_training(
        lambda rngs: model_of(CLIP, rngs),
        Clip(),
        mesh=alone.mesh,
        optimizer=make_optimizer(schedule=make_schedule(peak=1e-3, steps=10)),
        global_batch_size=16,
    )
    shapes = [jax.tree.map(lambda a: a.shape, t.abstract) for t in (alone, without)]
    assert shapes[0] == shapes[1]


@pytest.mark.slow
def test_eight_devices_train_as_one_does(alone):
    spread = make_tiny_training("distillation", make_mesh(data=8))
    start = alone.init()
    got, want = (train(t, placed(t, start), batches(3))[0] for t in (spread, alone))
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_teacher_s_batch_norms_normalise_as_in_evaluation():
    image = dict(kind="resnet", image_size=32, layers=(1, 1, 1, 1), width=8, output_dim=8)
    resnet = FROZEN["distillation"]["teacher"] | dict(image=image, image_projection="none")
    graphdef, shapes = abstract_model(lambda rngs: model_of(resnet, rngs))
    assert learns_statistics(nnx.merge(graphdef, shapes))
    training = make_training(
        lambda rngs: model_of(CLIP, rngs),
        Clip(),
        mesh=make_mesh(devices=jax.devices()[:1]),
        optimizer=make_optimizer(schedule=make_schedule(peak=1e-3, steps=10)),
        global_batch_size=16,
        frozen={"teacher": (graphdef, shapes)},
    )
    assert not learns_statistics(nnx.merge(training.recipe.foreign["teacher"], shapes))
