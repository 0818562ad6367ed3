"""Programs that the compiler prints, read back: loops, FLOPs and bytes against what was written."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vlp.parallel.mesh import make_mesh
from vlp.planning.collectives import _groups, collectives
from vlp.planning.cost import cost
from vlp.planning.estimate import estimate
from vlp.planning.findings import Facts, findings
from vlp.planning.hardware import CHIPS
from vlp.planning.hlo import Instruction, arrays, parse
from vlp.planning.topology import Topology, open_topology

LAYERS, ROWS, WIDTH = 5, 48, 32


def deep(x, weights):
    def layer(x, weight):
        return jnp.tanh(x @ weight), None

    return jax.lax.scan(layer, x, weights)[0]


@functools.cache
def program():
    shapes = (
        jax.ShapeDtypeStruct((ROWS, WIDTH), np.float32),
        jax.ShapeDtypeStruct((LAYERS, WIDTH, WIDTH), np.float32),
    )
    return parse(jax.jit(deep).lower(*shapes).compile().as_text())


def here(mesh):
    return Topology("here", CHIPS["h100"], (8,), list(mesh.devices.flat))


def test_a_loop_counts_as_often_as_it_turns():
    assert [(visit.times, visit.depth) for visit in program().visits()] == [(1, 0), (LAYERS, 1)]


def test_flops_are_those_of_the_products_that_were_written():
    found = estimate(program(), chip=CHIPS["h100"], exchanges=[]).flops
    assert sum(found.values()) == LAYERS * 2 * ROWS * WIDTH * WIDTH


def test_of_stacked_weights_a_layer_reads_its_own():
    (body,) = (visit.computation for visit in program().visits() if visit.depth)
    read = sum(cost(program(), body, each).bytes for each in body)
    whole = 4 * LAYERS * WIDTH * WIDTH
    assert read < whole + 4 * 8 * ROWS * WIDTH


def test_lines_are_told_from_whose_product_it_is():
    products = [
        (program().source(each), each)
        for computation in program().computations.values()
        for each in computation
        if each.opcode == "dot" or "matmul" in each.attributes
    ]
    assert products
    assert all("test_reading.py" in source for source, _ in products)


@pytest.mark.parametrize(
    ("axes", "spec", "link"), [(dict(fsdp=8), ("fsdp",), "fast"), (dict(data=8), ("data",), "fast")]
)
def test_an_exchange_has_the_bytes_of_what_all_have_afterwards(axes, spec, link):
    mesh = make_mesh(**axes)
    place = NamedSharding(mesh, PartitionSpec(*spec))
    whole = NamedSharding(mesh, PartitionSpec())
    gather = jax.jit(lambda x: x * 2, in_shardings=place, out_shardings=whole)
    text = gather.lower(jax.ShapeDtypeStruct((64, 16), np.float32)).compile().as_text()
    (found,) = collectives(parse(text), mesh=mesh, topology=here(mesh))
    assert (found.kind, found.axes, found.link) == ("all-gather", spec, link)
    assert (found.bytes, found.devices, found.times) == (4 * 64 * 16, 8, 1)


def test_what_goes_beyond_a_slice_is_what_the_devices_of_one_have_left_to_tell():
    mesh, chip = make_mesh(data=8), CHIPS["v5e"]
    half = {device.id: device.id // 4 for device in mesh.devices.flat}

    class Halves(Topology):
        def near(self, device):
            return half[device.id]

    add = jax.jit(
        lambda x: jnp.sum(x, axis=0),
        in_shardings=NamedSharding(mesh, PartitionSpec("data")),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )
    text = add.lower(jax.ShapeDtypeStruct((8, 2**20), np.float32)).compile().as_text()
    topology = Halves("halves", chip, (8,), list(mesh.devices.flat))
    (found,) = collectives(parse(text), mesh=mesh, topology=topology)
    sent = 4 * 2**20
    assert (found.kind, found.link, found.bytes) == ("all-reduce", "network", sent)
    want = 2 * sent * (3 / 4 / chip.link + 1 / 2 / 4 / chip.network)
    np.testing.assert_allclose(found.seconds, want, rtol=1e-6)


SPREAD = """HloModule spread

%piece (p: f32[8,4], w: f32[64,4]) -> f32[64,4] {
  %p = f32[8,4]{1,0} parameter(0)
  %w = f32[64,4]{1,0} parameter(1)
  ROOT %gathered.2 = f32[64,4]{1,0} all-gather(%p), channel_id=7, replica_groups={}, dimensions={0}
}

%body (b: (s32[], f32[8,4], f32[64,4])) -> (s32[], f32[8,4], f32[64,4]) {
  %b = (s32[], f32[8,4], f32[64,4]) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%b), index=1
  %y = f32[64,4]{1,0} get-tuple-element(%b), index=2
  %more = f32[64,4]{1,0} fusion(%x, %y), kind=kLoop, calls=%piece
  %i = s32[] get-tuple-element(%b), index=0
  ROOT %out = (s32[], f32[8,4], f32[64,4]) tuple(%i, %x, %more)
}

%condition (c: (s32[], f32[8,4], f32[64,4])) -> pred[] {
  %c = (s32[], f32[8,4], f32[64,4]) parameter(0)
  %j = s32[] get-tuple-element(%c), index=0
  ROOT %less = pred[] compare(%j, %j), direction=LT
}

ENTRY %main (a: f32[8,4]) -> (s32[], f32[8,4], f32[64,4]) {
  %a = f32[8,4]{1,0} parameter(0)
  %begun = f32[64,4]{1,0} all-gather(%a), channel_id=7, replica_groups={}, dimensions={0}
  %zero = s32[] constant(0)
  %start = (s32[], f32[8,4], f32[64,4]) tuple(%zero, %a, %begun)
  ROOT %loop = (s32[], f32[8,4], f32[64,4]) while(%start), condition=%condition, body=%body
}
"""


def test_a_gather_that_is_spread_into_a_loop_counts_where_it_is_begun():
    mesh = make_mesh(fsdp=8)
    (found,) = collectives(parse(SPREAD), mesh=mesh, topology=here(mesh))
    assert (found.instruction, found.depth, found.bytes) == ("begun", 0, 4 * 64 * 4)


SCATTERED = """HloModule scattered

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%all-reduce-scatter.2 (p: f32[64,4]) -> f32[8,4] {
  %p = f32[64,4]{1,0} parameter(0)
  %whole = f32[64,4]{1,0} all-reduce(%p), channel_id=3, replica_groups={}, to_apply=%add
  %me = u32[] partition-id()
  %zero = u32[] constant(0)
  ROOT %own = f32[8,4]{1,0} dynamic-slice(%whole, %me, %zero), dynamic_slice_sizes={8,4}
}

ENTRY %main (x: f32[64,4]) -> f32[8,4] {
  %x = f32[64,4]{1,0} parameter(0)
  ROOT %out = f32[8,4]{1,0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.2
}
"""


def test_what_a_tpu_reduces_and_scatters_in_one_fusion_is_no_all_reduce():
    mesh = make_mesh(fsdp=8)
    (found,) = collectives(parse(SCATTERED), mesh=mesh, topology=here(mesh))
    assert (found.kind, found.bytes, found.largest) == ("reduce-scatter", 4 * 64 * 4, 4 * 64 * 4)
    link = CHIPS["h100"].link
    np.testing.assert_allclose(
        found.seconds - CHIPS["h100"].overhead, found.bytes * 7 / 8 / link, rtol=1e-6
    )


def test_a_loop_of_a_length_that_is_not_told_is_a_finding():
    spread = parse(SPREAD)
    assert [visit.times for visit in spread.visits()] == [1, 1]
    facts = Facts(layer_bytes=1, shapes=(), tables=(), low=False, whole={})
    (found,) = findings(spread, [], facts)
    assert "does not tell" in found.what
    assert findings(program(), [], facts) == []


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups={{0,1},{2,3}}", [(0, 1), (2, 3)]),
        ("replica_groups=[2,2]<=[4]", [(0, 1), (2, 3)]),
        ("replica_groups=[2,2]<=[2,2]T(1,0)", [(0, 2), (1, 3)]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}", [(0, 2), (1, 3)]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a','b'}", [(0, 1, 2, 3)]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}", [(0, 2), (1, 3)]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=(3,1,2,0) {'b'}", [(3, 1), (2, 0)]),
        ("replica_groups={}", [(0, 1, 2, 3)]),
    ],
)
def test_groups_are_read_in_all_forms(text, groups):
    each = Instruction(
        "x", "all-reduce", arrays("f32[4]"), (), "", f", {text}, dimensions={{0}}", False
    )
    assert _groups(each, 4) == groups


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v7:4x4", "a chip of v4, v5e"),
        ("v5e:16", "must be NxN"),
        ("h100:12", "try 8 or 16"),
        ("h100:-8", "must be N"),
    ],
)
def test_an_unknown_machine_is_refused_with_those_that_are_known(name, said):
    with pytest.raises(ValueError, match=said):
        open_topology(name)


def test_a_loop_that_asks_a_flag_is_a_branch_and_no_loop():
    compares = "ROOT %less = pred[] compare(%j, %j), direction=LT"
    asks = SPREAD.replace(compares, "ROOT %flag = pred[] get-tuple-element(%c), index=1")
    assert asks != SPREAD
    found = collectives(parse(asks), mesh=make_mesh(fsdp=8), topology=here(make_mesh(fsdp=8)))
    assert [each.depth for each in found] == [0] and parse(asks).endless() == []
    assert len(parse(asks).visits()) == 2


def test_exchanges_of_one_channel_are_each_counted_unless_one_goes_on_with_another():
    again = "  %again = f32[64,4]{1,0} all-gather(%a), channel_id=7, replica_groups={}\n  %zero"
    twice = SPREAD.replace("  %zero", again, 1)
    mesh = make_mesh(fsdp=8)
    found = collectives(parse(twice), mesh=mesh, topology=here(mesh))
    assert [each.instruction for each in found] == ["begun", "again"]
