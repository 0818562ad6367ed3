"""Words told a few places at a time: no other losses and gradients, and less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from tests.nn.test_attention_of_families import loss_and_gradient
from tests.planning.test_layer_loops import in_loops
from tests.training.test_dual_encoder_training import OBJECTIVES
from vlp.nn.vocabulary import Words
from vlp.objectives.common.words import tell
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import batch_sharding
from vlp.planning.hlo import parse

N, L, W, V, PAD = 8, 7, 6, 11, 3
RNG = np.random.default_rng(0)
TOKENS, SLOW = jnp.float32(RNG.normal(size=(2, N, L, W)))
HEAD, THEIRS = (
    (jnp.float32(RNG.normal(size=(W, V))), jnp.float32(RNG.normal(size=V))) for _ in range(2)
)


def targets():
    """One text of all words, one without any, the others with holes."""
    found = np.random.default_rng(1).integers(4, V, (N, L), dtype=np.int32)
    found[np.random.default_rng(2).random((N, L)) < 0.6] = PAD
    found[0], found[1] = np.arange(4, 4 + L), PAD
    return jnp.asarray(found)


def outcome(places, *, mesh=None, taught=True, bias=True):
    def total(tokens, head):
        teacher = Words(SLOW, *THEIRS) if taught else None
        words = Words(tokens, *(head if bias else head[:1]))
        settings = dict(pad_id=PAD, label_smoothing=0.1, teacher=teacher, mesh=mesh)
        told = tell(words, targets(), places=places, **settings)
        share = jnp.linspace(0.5, 2.0, N)
        return jnp.sum(share * (told.nats + 0.7 * told.soft)), told

    run = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, told), gradients = run(TOKENS, HEAD)
    return jax.tree.map(np.asarray, (tuple(told), gradients))


@functools.cache
def whole(**settings):
    return outcome(None, **settings)


def assert_equal(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, want)


@pytest.mark.parametrize("places", [1, 3, 6])
def test_a_few_places_at_a_time_give_the_losses_and_gradients_of_all_at_once(places):
    assert_equal(outcome(places), whole())
    (_, _, soft), _ = whole()
    assert soft[0] > 0 and soft[1] == 0


def test_nor_do_they_without_a_teacher_and_without_a_bias():
    assert_equal(outcome(3, taught=False, bias=False), whole(taught=False, bias=False))


def exchanges_of(places, mesh):
    rows = batch_sharding(mesh)
    everywhere = NamedSharding(mesh, PartitionSpec())
    tokens = jax.ShapeDtypeStruct(TOKENS.shape, jnp.float32, sharding=rows)
    head = jax.ShapeDtypeStruct((W, V), jnp.float32, sharding=everywhere)

    def loss(tokens, kernel):
        words = Words(tokens, kernel)
        return jnp.sum(tell(words, targets(), pad_id=PAD, places=places, mesh=mesh).nats)

    step = jax.jit(jax.grad(loss, argnums=(0, 1)), out_shardings=(rows, everywhere))
    return in_loops(parse(step.lower(tokens, head).compile().as_text()), mesh)


def test_on_a_mesh_they_are_the_same_and_gradients_are_added_up_behind_the_loop():
    mesh = make_mesh(data=4, fsdp=2)
    assert_equal(outcome(3, mesh=mesh), whole())
    assert exchanges_of(3, mesh) == []


def temporary_bytes(places, *, n, length, width, vocabulary):
    def loss(tokens, kernel, targets):
        told = tell(Words(tokens, kernel), targets, pad_id=0, places=places)
        return jnp.sum(told.nats), told.right

    shapes = (
        jax.ShapeDtypeStruct((n, length, width), jnp.bfloat16),
        jax.ShapeDtypeStruct((width, vocabulary), jnp.float32),
        jax.ShapeDtypeStruct((n, length), jnp.int32),
    )
    step = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    return step.lower(*shapes).compile().memory_analysis().temp_size_in_bytes


def test_captions_of_coca_at_a_vocabulary_of_64_k_hold_the_logits_of_eight_places():
    sizes = dict(n=16, length=76, width=64, vocabulary=2**16)
    whole = temporary_bytes(76, **sizes)
    assert whole > 2 * 4 * 16 * 76 * 2**16  # logits and their gradients
    assert temporary_bytes(None, **sizes) < whole / 5


def test_few_logits_are_made_at_once_and_many_are_not():
    def loops(n):
        words = Words(jnp.zeros((n, 64, 1)), jnp.zeros((1, 2**13)))
        found = jax.make_jaxpr(lambda words: tell(words, jnp.ones((n, 64), jnp.int32), pad_id=0))
        return " scan[" in str(found(words))

    assert not loops(128) and loops(129)


@pytest.mark.parametrize(
    "kind",
    [
        "coca",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("albef", "blip", "blip2", "vlmo")),
    ],
)
def test_every_objective_with_words_learns_by_few_places_what_it_does_by_all(kind, monkeypatch):
    mesh = make_mesh(data=2, fsdp=2, devices=jax.devices()[:4])
    want, usual = loss_and_gradient(kind, "einsum", mesh), OBJECTIVES[kind]
    few = dict(places_at_once=2) | (dict(micro_batch_size=8) if kind == "coca" else {})
    monkeypatch.setitem(OBJECTIVES, kind, functools.partial(usual, **few))
    assert_equal(loss_and_gradient(kind, "einsum", mesh), want)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coca", "albef"])
def test_few_places_on_a_tensor_axis_are_those_of_one_device(kind, monkeypatch):
    want = loss_and_gradient(kind, "einsum", make_mesh(devices=jax.devices()[:1]))
    few = functools.partial(OBJECTIVES[kind], places_at_once=2)
    monkeypatch.setitem(OBJECTIVES, kind, few)
    mesh = make_mesh(data=2, tensor=2, devices=jax.devices()[:4])
    assert_equal(loss_and_gradient(kind, "einsum", mesh), want)


def test_no_place_at_a_time_is_refused():
    with pytest.raises(ValueError, match="places_at_once must be at least 1, got 0; or None"):
        tell(Words(TOKENS, *HEAD), targets(), pad_id=PAD, places=0)
