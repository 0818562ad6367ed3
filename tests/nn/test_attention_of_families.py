"""Models of every family by TPUs' attention: what they compute and learn by is the same."""

import functools

import jax
import numpy as np
import pytest

from tests.training.test_dual_encoder_training import (
    MODELS,
    OBJECTIVES,
    batches,
    filled_params,
    make_tiny_training,
)
from vlp.nn import implementation
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import put_batch, rows_kept
from vlp.training.step import mean_loss


def by(attention, kwargs):
    """The same, all of whose parts with heads attend by that."""
    parts = {
        name: by(attention, value)
        for name, value in kwargs.items()
        if isinstance(value, dict) and name != "queries"
    }
    own = {"attention": attention} if "num_heads" in kwargs else {}
    return kwargs | parts | own


def loss_and_gradient(kind, attention, mesh):
    training = make_tiny_training(kind, mesh, kwargs=by(attention, MODELS[kind]))
    state = training.init(filled_params(MODELS[kind]))
    batch = {name: value for name, value in next(batches(1)).items() if name in training.fields}

    def loss(params, state, batch):
        with rows_kept(mesh):
            return mean_loss(training.recipe, params, state, batch, training.frozen)[0]

    found = jax.jit(jax.value_and_grad(loss))(state.params, state, put_batch(batch, mesh))
    return jax.tree.map(np.asarray, found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_a_family_s_loss_and_gradients_are_those_of_the_plain_form(kind, interpreted, monkeypatch):
    mesh = make_mesh(devices=jax.devices()[:1])
    want = loss_and_gradient(kind, "einsum", mesh)
    monkeypatch.setattr(implementation, "platform", lambda: "tpu")
    got = loss_and_gradient(kind, "splash", mesh)
    assert interpreted
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, want)


@pytest.mark.parametrize("axes", [dict(fsdp=2), dict(tensor=2)])
def test_on_a_mesh_each_device_attends_for_its_own_rows_and_heads(axes, interpreted, monkeypatch):
    want = loss_and_gradient("clip", "einsum", make_mesh(devices=jax.devices()[:1]))
    monkeypatch.setattr(implementation, "platform", lambda: "tpu")
    got = loss_and_gradient("clip", "splash", make_mesh(**axes, devices=jax.devices()[:2]))
    assert interpreted
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, want)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attention", "platform", "said"),
    [
        ("splash", "tpu", '"splash" takes no micro-batches on a mesh: "einsum" takes its place'),
        ("auto", "gpu", '"auto" takes "einsum": "cudnn" takes no micro-batches on a mesh'),
    ],
)
def test_micro_batches_on_a_mesh_take_the_plain_form_and_say_so(
    attention, platform, said, monkeypatch, words
):
    monkeypatch.setattr(implementation, "platform", lambda: platform)
    in_parts = functools.partial(OBJECTIVES["clip"], micro_batch_size=8)
    monkeypatch.setitem(OBJECTIVES, "clip", in_parts)
    loss_and_gradient("clip", attention, make_mesh(data=2, devices=jax.devices()[:2]))
    assert [said in line for line in words.messages] == [True]
