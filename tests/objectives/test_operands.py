"""What a model computes in bfloat16 its losses multiply so, and queues and teachers with it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.test_dual_encoder_training import (
    MODELS,
    OBJECTIVES,
    batches,
    make_tiny_training,
)
from vlp.losses import affinity_loss, momentum_contrastive_loss, similarity, softmax_loss
from vlp.parallel.mesh import make_mesh
from vlp.training.step import mean_loss

TOWERS = ("image", "text", "fusion", "multiway")


def low(kind):
    """The model of that kind, whose parts compute in bfloat16."""
    parts = {
        name: value | {"dtype": "bfloat16"}
        for name, value in MODELS[kind].items()
        if name in TOWERS and value.get("kind") != "frozen"
    }
    return MODELS[kind] | parts


@pytest.mark.parametrize("kind", ["albef", "blip", "blip2", "distillation"])
@pytest.mark.parametrize("operands", ["model", "float32"])
def test_all_products_of_embeddings_have_operands_of_that_dtype(kind, operands, monkeypatch):
    found, product = [], similarity.product

    def recorded(form, a, b):
        found.append({a.dtype.name, b.dtype.name})
        return product(form, a, b)

    monkeypatch.setattr(similarity, "product", recorded)
    spoken = functools.partial(OBJECTIVES[kind], operands=operands)
    monkeypatch.setitem(OBJECTIVES, kind, spoken)
    mesh = make_mesh(devices=jax.devices()[:1])
    training = make_tiny_training(kind, mesh, kwargs=low(kind))
    batch = {name: value for name, value in next(batches(1)).items() if name in training.fields}
    jax.eval_shape(
        lambda state, batch, frozen: mean_loss(training.recipe, state.params, state, batch, frozen)[
            0
        ],
        training.abstract,
        batch,
        training.frozen,
    )
    want = "bfloat16" if operands == "model" else "float32"
    assert found and all(dtypes == {want} for dtypes in found)


def unit(*shape, seed):
    z = np.random.default_rng(seed).normal(size=shape)
    return jnp.float32(z / np.linalg.norm(z, axis=-1, keepdims=True))


N, D, SCALE = 24, 64, 20.0
LOSSES = {
    "momentum": lambda img, txt, keys_img, keys_txt: momentum_contrastive_loss(
        img, txt, keys_img=keys_img, keys_txt=keys_txt, present=jnp.ones(len(keys_img), bool),
        scale=SCALE, distillation=0.4,
    ),
    "affinity": lambda img, txt, keys_img, keys_txt: affinity_loss(
        img, txt, teacher_zimg=keys_img[:N], teacher_ztxt=keys_txt[:N], scale=SCALE,
        teacher_scale=SCALE,
    ),
    "queries": lambda img, txt, keys_img, keys_txt: softmax_loss(
        jnp.stack([img, keys_img[:N]], axis=1), txt, scale=SCALE, similarity="max_over_queries"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_the_error_is_that_of_rounded_cosines(name):
    """Half a unit of the last of eight binary digits of each number, averaged over d of them."""
    whole = [unit(N, D, seed=0), unit(N, D, seed=1), unit(40, D, seed=2), unit(40, D, seed=3)]

    def outcome(*z):
        return jax.jit(jax.value_and_grad(lambda *z: jnp.mean(LOSSES[name](*z)), (0, 1)))(*z)

    want, gradients = outcome(*whole)
    got, rounded = outcome(*(z.astype(jnp.bfloat16) for z in whole))
    assert abs(float(got - want)) < SCALE * 2**-9 / np.sqrt(D) * 4
    for a, b in zip(rounded, gradients, strict=True):
        error = np.linalg.norm(np.float32(a) - b) / np.linalg.norm(b)
        assert 0 < error < 0.02
