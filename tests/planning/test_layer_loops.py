"""What devices send each other in the loops over layers: weights, and never the batch's tokens."""

import functools

import jax
import numpy as np
import pytest

from tests.training.test_dual_encoder_training import (
    MODELS,
    OBJECTIVES,
    batches,
    make_tiny_training,
)
from vlp.evals.embed import Encoder
from vlp.evals.encoding import encode
from vlp.parallel.mesh import batch_parts, make_mesh
from vlp.planning.collectives import collectives
from vlp.planning.hardware import CHIPS
from vlp.planning.hlo import parse
from vlp.planning.topology import Topology
from vlp.training.params import leaf_names

MESHES = [
    dict(),
    dict(fsdp=8),
    dict(data=4, fsdp=2),
    dict(tensor=2),
]
ROWS = 32
# Of one layer and pair: patches and text, and of three pairs where true and wrong ones are matched.
MOST_TOKENS = {
    **{kind: 5 for kind in ("clip", "coca", "distillation", "bound", "trunk")},
    **{kind: 3 * 10 for kind in ("albef", "blip", "blip2", "vlmo")},
}


def deeper(kwargs):
    """The same with stacks of several layers, which a loop goes through."""
    return {
        name: deeper(value) if isinstance(value, dict) else 4 if name == "depth" else value
        for name, value in kwargs.items()
    }


def compiled(kind, axes):
    training = make_tiny_training(kind, make_mesh(**axes), kwargs=deeper(MODELS[kind]), rows=ROWS)
    batch = next(batches(1))
    shapes = {
        name: jax.ShapeDtypeStruct((ROWS, *batch[name].shape[1:]), batch[name].dtype)
        for name in training.fields
    }
    return training, parse(training.lower(shapes).compile().as_text())


def largest_weight(training):
    """Bytes of the largest array of one layer."""
    params = training.abstract.params
    pairs = zip(leaf_names(params), jax.tree.leaves(params), strict=True)
    return max(4 * int(np.prod(leaf.shape[1:])) for name, leaf in pairs if "/blocks/" in name)


CASES = [
    pytest.param(
        kind,
        axes,
        marks=[pytest.mark.slow] * (kind != "clip" or axes not in (dict(fsdp=8), dict(tensor=2))),
        id=f"{kind}-" + ("-".join(f"{name}{size}" for name, size in axes.items()) or "data8"),
    )
    for kind in MODELS
    for axes in MESHES
]


def exchanges(program, mesh):
    """All exchanges of a program."""
    here = Topology("here", CHIPS["h100"], (8,), list(mesh.devices.flat))
    return collectives(program, mesh=mesh, topology=here)


def in_loops(program, mesh):
    """Those in its loops."""
    return [each for each in exchanges(program, mesh) if each.depth]


@pytest.mark.parametrize(("kind", "axes"), CASES)
def test_no_exchange_in_a_loop_is_larger_than_a_layer_s_largest_weight(kind, axes):
    training, program = compiled(kind, axes)
    found = in_loops(program, training.mesh)
    weight = 1.05 * largest_weight(training)
    assert found
    assert [each for each in found if "tensor" not in each.axes and each.largest > weight] == []
    # Along `tensor` devices have the same rows, and add up what each makes of them.
    own = 4 * 16 * ROWS // batch_parts(training.mesh) * MOST_TOKENS[kind]
    assert [each for each in found if each.largest > max(weight, own)] == []


@pytest.mark.parametrize(
    ("kind", "axes"),
    [
        pytest.param(kind, axes, marks=[pytest.mark.slow] * (kind != "clip" or bool(axes)))
        for kind in MODELS
        for axes in [dict(), *([dict(data=4, fsdp=2)] if kind in ("clip", "albef") else [])]
    ],
)
def test_micro_batches_add_their_gradients_up_over_data_once_a_step(kind, axes, monkeypatch):
    in_parts = functools.partial(OBJECTIVES[kind], micro_batch_size=16)
    monkeypatch.setitem(OBJECTIVES, kind, in_parts)
    training, program = compiled(kind, axes)
    over_data = [each for each in in_loops(program, training.mesh) if "data" in each.axes]
    added_up = [each for each in over_data if each.kind in ("all-reduce", "reduce-scatter")]
    assert [each for each in added_up if each.largest > 4] == []  # but the update's norms


def test_an_evaluation_on_the_mesh_of_a_training_gathers_no_more():
    training = make_tiny_training("clip", make_mesh(fsdp=8), kwargs=deeper(MODELS["clip"]))
    encoder = Encoder(training.recipe.graphdef, training.init().params, mesh=training.mesh)
    given = encoder.put(np.zeros((ROWS, 8, 8, 3), np.uint8))
    lowered = encode.lower("image", encoder.graphdef, encoder.params, given, encoder.out)
    found = in_loops(parse(lowered.compile().as_text()), training.mesh)
    assert found
    assert max(each.largest for each in found) <= 1.05 * largest_weight(training)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["albef", "blip", "blip2", "vlmo"])
def test_matching_gathers_embeddings_of_the_batch_and_no_tokens(kind):
    training, program = compiled(kind, dict())
    found = exchanges(program, training.mesh)
    gathered = [each for each in found if each.kind == "all-gather"]
    assert gathered and max(len(each.shape) for each in gathered) <= 2
