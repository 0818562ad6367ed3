"""What devices send each other in the loops over layers: weights, and never the batch's tokens."""

import jax
import numpy as np
import pytest

from tests.training.test_dual_encoder_training import MODELS, batches, make_tiny_training
from vlp.parallel.mesh import make_mesh
from vlp.planning.collectives import collectives
from vlp.planning.hardware import CHIPS
from vlp.planning.hlo import parse
from vlp.planning.topology import Topology
from vlp.training.params import leaf_names

MESHES = [dict(), dict(fsdp=8), dict(data=4, fsdp=2)]
ROWS = 32


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
        marks=[pytest.mark.slow] * ((kind, axes) != ("clip", dict(fsdp=8))),
        id=f"{kind}-" + ("-".join(f"{name}{size}" for name, size in axes.items()) or "data8"),
    )
    for kind in MODELS
    for axes in MESHES
]


@pytest.mark.parametrize(("kind", "axes"), CASES)
def test_no_exchange_in_a_loop_is_larger_than_a_layer_s_largest_weight(kind, axes):
    training, program = compiled(kind, axes)
    most = 1.05 * largest_weight(training)
    devices = training.mesh.devices.flat
    here = Topology("here", CHIPS["h100"], (8,), 1, list(devices))
    found = collectives(program, mesh=training.mesh, topology=here)
    assert any(each.depth for each in found)
    assert [each for each in found if each.depth and each.largest > most] == []
