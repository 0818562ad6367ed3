"""Steps that others wrote, read as ours are: a function, shapes with shardings, a mesh."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vlp.parallel.mesh import make_mesh
from vlp.planning.hardware import CHIPS
from vlp.planning.reading import read_step
from vlp.planning.topology import Topology

ROWS, WIDTH = 64, 32


def here():
    chip = dataclasses.replace(CHIPS["h100"], kind="cpu")
    return Topology("here", chip, (8,), jax.devices())


def descend(weight, x):
    loss, slope = jax.value_and_grad(lambda weight: jnp.mean((x @ weight) ** 2))(weight)
    return weight - slope, loss


@functools.cache
def lowered(donated):
    mesh = make_mesh()
    whole, rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
    weight = jax.ShapeDtypeStruct((WIDTH, WIDTH), np.float32, sharding=whole)
    x = jax.ShapeDtypeStruct((ROWS, WIDTH), np.float32, sharding=rows)
    step = jax.jit(descend, out_shardings=whole, donate_argnums=(0,) if donated else ())
    return step.lower(weight, x), mesh


@functools.cache
def reading(donated):
    step, mesh = lowered(donated)
    return read_step(step, mesh=mesh, topology=here())


def test_it_is_given_what_lies_on_one_device():
    assert reading(True).answer.arguments == 4 * (WIDTH * WIDTH + ROWS // 8 * WIDTH)


@pytest.mark.parametrize("donated", [True, False])
def test_results_in_the_place_of_arguments_take_no_room(donated):
    weight, loss, table = 4 * WIDTH * WIDTH, 4, 16  # of two results a CPU keeps their addresses
    assert reading(donated).answer.results == loss + table + (0 if donated else weight)


def test_its_products_are_a_forward_and_a_backward_one_of_its_share():
    share = ROWS // 8
    assert sum(reading(True).estimate.flops.values()) == 2 * 2 * share * WIDTH * WIDTH


def test_its_gradient_is_added_up_over_all_devices():
    largest = max(reading(True).collectives, key=lambda each: each.largest)
    assert (largest.kind, largest.axes, largest.devices) == ("all-reduce", ("data",), 8)
    assert largest.largest == 4 * WIDTH * WIDTH and largest.depth == 0


def test_at_its_peak_it_holds_what_it_is_given():
    assert reading(True).answer.peak >= reading(True).answer.arguments
