"""What should not be in a step, made to happen in compiled programs of eight devices, and found."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vlp.parallel.mesh import make_mesh
from vlp.planning import findings as module
from vlp.planning.collectives import collectives
from vlp.planning.findings import Facts, findings
from vlp.planning.hardware import CHIPS
from vlp.planning.hlo import Computation, Program, parse
from vlp.planning.plan import _whole
from vlp.planning.topology import Topology

LAYERS, ROWS, WIDTH, VOCABULARY = 4, 64, 16, 4096
ROWS_APART, APART, WHOLE = PartitionSpec("fsdp"), PartitionSpec(None, "fsdp"), PartitionSpec()


@pytest.fixture(autouse=True)
def nothing_is_too_small(monkeypatch):
    monkeypatch.setattr(module, "MIN_BYTES", 0)


@functools.cache
def mesh():
    return make_mesh(fsdp=8)


def place(*spec):
    return NamedSharding(mesh(), *spec)


def found_in(step, *arguments, low=False, **known):
    """Findings in a step, of arguments given as shape and placement."""
    shapes = [
        jax.ShapeDtypeStruct(shape, np.int32 if len(shape) == 1 else np.float32)
        for shape, _ in arguments
    ]
    places = tuple(place(spec) for _, spec in arguments)
    compiled = jax.jit(step, in_shardings=places).lower(*shapes).compile()
    program = parse(compiled.as_text())
    here = Topology("here", CHIPS["h100"], (8,), list(mesh().devices.flat))
    exchanges = collectives(program, mesh=mesh(), topology=here)
    usual = dict(layer_bytes=4 * WIDTH * WIDTH, shapes=(), tables=(), whole={})
    return findings(program, exchanges, Facts(**(usual | known), low=low))


def through_layers(x, weights, *, activations):
    """Layers whose weights lie apart; gathers each, or all activations, in every layer."""

    def layer(x, weight):
        if activations:
            x = jax.lax.with_sharding_constraint(x, place(WHOLE))
        else:
            weight = jax.lax.with_sharding_constraint(weight, place(WHOLE))
        y = jnp.tanh(x @ weight)
        return jax.lax.with_sharding_constraint(y, place(ROWS_APART)), None

    return jax.lax.scan(layer, x, weights)[0]


LAYERED = [((ROWS, WIDTH), ROWS_APART), ((LAYERS, WIDTH, WIDTH), PartitionSpec(None, None, "fsdp"))]


def test_activations_gathered_in_every_layer_are_found_with_their_line():
    found = found_in(functools.partial(through_layers, activations=True), *LAYERED)
    largest = found[0]
    assert "in a loop of 4" in largest.what and "all-gather" in largest.what
    assert largest.bytes == LAYERS * 4 * ROWS * WIDTH
    assert "test_findings.py" in largest.source


def test_weights_gathered_a_layer_at_a_time_are_nothing_to_find():
    step = functools.partial(through_layers, activations=False)
    assert found_in(step, *LAYERED) == []


def test_an_array_that_grows_with_the_whole_batch_is_found():
    def step(x):
        return jax.lax.with_sharding_constraint(x * 2, place(WHOLE))

    (found,) = found_in(step, ((ROWS, WIDTH), ROWS_APART))
    assert "the whole batch's on each device" in found.what and found.bytes == 4 * ROWS * WIDTH
    assert found_in(step, ((ROWS, WIDTH), ROWS_APART), shapes={(ROWS, WIDTH)}) == []  # a parameter


def look_up(table, ids, *, whole):
    if whole:
        table = jax.lax.with_sharding_constraint(table, place(WHOLE))
    return table[ids]


TABLE = [((VOCABULARY, WIDTH), APART), ((ROWS,), WHOLE)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_table_that_is_gathered_to_look_a_few_rows_up_is_found(whole):
    shape = {(VOCABULARY, WIDTH)}
    found = found_in(functools.partial(look_up, whole=whole), *TABLE, tables=shape, shapes=shape)
    about = [each for each in found if "table" in each.what]
    assert [each.bytes for each in about] == [4 * VOCABULARY * WIDTH] * whole


def test_products_in_float32_are_found_where_less_was_asked_for():
    def step(x, weight):
        return x @ weight

    arguments = [((ROWS, WIDTH), ROWS_APART), ((WIDTH, WIDTH), WHOLE)]
    (found,) = found_in(step, *arguments, low=True)
    assert "float32" in found.what and "test_findings.py" in found.source
    assert found_in(step, *arguments, low=False) == []


def parameters(**params):
    """Shapes of parameters and where they lie."""
    return {
        name: jax.ShapeDtypeStruct(shape, np.float32, sharding=place(spec))
        for name, (shape, spec) in params.items()
    }


def test_a_large_parameter_that_is_everywhere_is_found_where_fsdp_could_divide_it():
    params = parameters(
        everywhere=((1024, 512), WHOLE),
        divided=((1024, 512), APART),
        odd=((1023, 511), WHOLE),  # no axis of which has eight parts
    )
    known = _whole(params, parts=8)
    assert known == {"everywhere": 4.0 * 1024 * 512} and _whole(params, parts=1) == {}
    facts = Facts(layer_bytes=1, shapes=(), tables=(), low=False, whole=known)
    (found,) = findings(Program({"main": Computation("main", {})}, "main", {}), [], facts)
    assert "parameter everywhere" in found.what and "fsdp could divide it" in found.what
