import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from vlp.losses.similarity import Tokens, cosines
from vlp.parallel.contrastive import contrastive_loss

N, D = 48, 8
PARAMETERS = {"softmax": {"scale": 20.0}, "sigmoid": {"scale": 20.0, "bias": -5.0}}
WEIGHTS = ("none", "some", "zero")
FORMS = [("gathered", 1), ("ring", 1), ("ring", 4), ("ring", 6), ("ring", 4096)]


def make_mesh(**axes):
    kinds = (AxisType.Auto,) * len(axes)
    return jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=kinds)


@functools.cache
def pairs(n=N):
    rng = np.random.default_rng(0)
    zimg, ztxt = rng.normal(size=(2, n, D))
    ztxt = ztxt + zimg
    zimg, ztxt = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (zimg, ztxt))
    weight = rng.integers(0, 3, n)
    return jnp.float32(zimg), jnp.float32(ztxt), jnp.float32(weight)


def outcome(loss, kind, weights="none", n=N):
    """Losses and all gradients of an unevenly weighted mean."""
    zimg, ztxt, weight = pairs(n)
    weight = {"none": None, "some": weight, "zero": jnp.zeros(n)}[weights]
    share = jnp.linspace(0.0, 2.0, n) / n

    def total(zimg, ztxt, parameters):
        losses = loss(zimg, ztxt, weight=weight, **parameters)
        return jnp.sum(losses * share), losses

    parameters = {name: jnp.float32(value) for name, value in PARAMETERS[kind].items()}
    run = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))
    (_, losses), gradients = run(zimg, ztxt, parameters)
    return jax.tree.map(np.asarray, (losses, gradients))


@functools.cache
def dense(kind, weights="none", n=N):
    return outcome(contrastive_loss(kind), kind, weights, n)


GROUPS = jnp.int32(np.random.default_rng(5).integers(0, 12, N))
OTHERS = {
    "dot": dict(positives=GROUPS),
    "max_over_queries": dict(),
    "late_interaction": dict(positives=GROUPS),
}


@functools.cache
def several_vectors(similarity):
    """Pairs as the similarity takes them: of a few tokens some are real, of texts one has none."""
    zimg, ztxt, weight = pairs()
    rng = np.random.default_rng(1)
    zimg, ztxt = (z[:, None] + 0.3 * jnp.float32(rng.normal(size=(N, 3, D))) for z in (zimg, ztxt))
    if similarity == "dot":
        return zimg[:, 0], ztxt[:, 0], weight
    if similarity == "max_over_queries":
        return zimg, ztxt[:, 0], weight
    real = jnp.asarray(rng.integers(0, 4, N))[:, None] > jnp.arange(3)[None]
    return Tokens(zimg), Tokens(ztxt, real), weight


def outcome_of(similarity, kind, loss, weights="some"):
    """Losses and all gradients, with the positives of `OTHERS`."""
    zimg, ztxt, weight = several_vectors(similarity)
    weight = {"none": None, "some": weight, "zero": jnp.zeros(N)}[weights]
    share = jnp.linspace(0.0, 2.0, N) / N

    def total(zimg, ztxt, parameters):
        given = dict(similarity=similarity, weight=weight, **OTHERS[similarity], **parameters)
        losses = loss(zimg, ztxt, **given)
        return jnp.sum(losses * share), losses

    parameters = {name: jnp.float32(value) for name, value in PARAMETERS[kind].items()}
    run = jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True, allow_int=True)
    (_, losses), (to_images, to_texts, to_parameters) = jax.jit(run)(zimg, ztxt, parameters)
    to_images, to_texts = (getattr(z, "vectors", z) for z in (to_images, to_texts))
    return jax.tree.map(np.asarray, (losses, to_images, to_texts, to_parameters))


def assert_equal(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, want)


@pytest.mark.parametrize(("implementation", "tile"), FORMS)
@pytest.mark.parametrize("kind", PARAMETERS)
def test_sharded_forms_equal_the_dense_one_in_values_and_gradients(kind, implementation, tile):
    mesh = make_mesh(data=8)
    loss = contrastive_loss(kind, mesh=mesh, implementation=implementation, tile=tile)
    assert_equal(outcome(loss, kind, "some"), dense(kind, "some"))


@pytest.mark.parametrize("implementation", ["gathered", "ring"])
@pytest.mark.parametrize("weights", ["none", "zero"])
@pytest.mark.parametrize("kind", PARAMETERS)
def test_missing_and_all_zero_weights_are_as_in_the_dense_form(kind, weights, implementation):
    loss = contrastive_loss(kind, mesh=make_mesh(data=8), implementation=implementation, tile=4)
    assert_equal(outcome(loss, kind, weights), dense(kind, weights))


@pytest.mark.parametrize("similarity", OTHERS)
@pytest.mark.parametrize("kind", PARAMETERS)
def test_other_similarities_and_groups_are_as_in_the_dense_form(kind, similarity):
    mesh, want = make_mesh(data=8), outcome_of(similarity, kind, contrastive_loss(kind))
    # A tile for single vectors has 12 rows, more than a device; one for 9 products a pair has 4.
    for form in (dict(implementation="gathered"), dict(implementation="ring", tile=12)):
        loss = contrastive_loss(kind, mesh=mesh, **form)
        assert_equal(outcome_of(similarity, kind, loss), want)


@pytest.mark.parametrize("mesh", [None, dict(data=1)], ids=str)
@pytest.mark.parametrize("kind", PARAMETERS)
def test_on_one_device_the_ring_is_tiles_alone(kind, mesh):
    mesh = mesh and make_mesh(**mesh)
    ring = contrastive_loss(kind, mesh=mesh, implementation="ring", tile=7)
    assert_equal(outcome(ring, kind, "some"), dense(kind, "some"))
    want = outcome_of("dot", kind, contrastive_loss(kind))
    assert_equal(outcome_of("dot", kind, ring), want)


@pytest.mark.parametrize("kind", PARAMETERS)
def test_gradients_that_travel_in_bfloat16_are_rounded_once_a_device(kind):
    mesh, settings = make_mesh(data=8), dict(implementation="ring", tile=2)
    exact = outcome(contrastive_loss(kind, mesh=mesh, **settings), kind)
    found = outcome(contrastive_loss(kind, mesh=mesh, **settings, sums="bfloat16"), kind)
    (losses, (images, texts, _)), (want, (to_images, to_texts, _)) = found, exact
    np.testing.assert_array_equal(losses, want)
    np.testing.assert_array_equal(images, to_images)  # which stay where they are
    error = np.linalg.norm(texts - to_texts) / np.linalg.norm(to_texts)
    assert 0 < error < 2**-8 * np.sqrt(8 / 3)  # at most half a unit of eight digits, eight times
    with pytest.raises(ValueError, match="sums must be one of float32, bfloat16, got 'int8'"):
        contrastive_loss(kind, sums="int8")


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", PARAMETERS)
def test_groups_meet_across_uneven_tiles_and_meshes(kind, weights):
    mesh = make_mesh(data=2, fsdp=4)
    loss = contrastive_loss(kind, mesh=mesh, implementation="ring", tile=4)
    want = outcome_of("dot", kind, contrastive_loss(kind), weights)
    assert_equal(outcome_of("dot", kind, loss, weights), want)


def test_what_a_form_does_not_take_is_refused():
    z, mesh = jnp.ones((N, D)), make_mesh(data=8)
    for form in ("gathered", "ring"):
        loss = contrastive_loss("softmax", mesh=mesh, implementation=form)
        with pytest.raises(ValueError, match=f"the '{form}' form must be groups .n., got .48, 48"):
            loss(z, z, scale=1.0, positives=jnp.eye(N, dtype=bool))
    with pytest.raises(ValueError, match="of the 'ring' form must be one of dot, max_over_queries"):
        loss(z, z, scale=1.0, similarity=cosines)
    gathered = contrastive_loss("softmax", mesh=mesh, implementation="gathered")
    by_function = jax.jit(functools.partial(gathered, scale=1.0, similarity=cosines))(z, z)
    np.testing.assert_allclose(by_function, np.log(N), rtol=1e-5)


def test_auto_counts_the_inner_products_of_a_pair():
    def collectives(n, tokens):
        z = jax.ShapeDtypeStruct((n, tokens, D), jnp.float32)
        loss = contrastive_loss("softmax", mesh=make_mesh(data=8))
        texts = jax.ShapeDtypeStruct((n, D), jnp.float32)
        how = dict(scale=1.0, similarity="max_over_queries")
        text = str(jax.make_jaxpr(functools.partial(loss, **how))(z, texts))
        return {name for name in ("all_gather", "ppermute") if name in text}

    assert collectives(16384, 1) == {"all_gather"} and collectives(16384, 4) == {"ppermute"}


@pytest.mark.parametrize("implementation", ["gathered", "ring"])
@pytest.mark.parametrize("axes", [{"data": 2, "fsdp": 4}, {"fsdp": 2, "tensor": 4}, {"data": 1}])
@pytest.mark.parametrize("kind", PARAMETERS)
def test_any_mesh_gives_the_same_loss(kind, axes, implementation):
    loss = contrastive_loss(kind, mesh=make_mesh(**axes), implementation=implementation, tile=5)
    assert_equal(outcome(loss, kind, "some"), dense(kind, "some"))


@pytest.mark.parametrize("form", ["dense", "gathered", "ring"])
@pytest.mark.parametrize("kind", PARAMETERS)
def test_what_towers_compute_in_bfloat16_is_multiplied_so_and_summed_in_float32(kind, form):
    zimg, ztxt, weight = pairs()
    z = tuple(z.astype(jnp.bfloat16).astype(jnp.float32) for z in (zimg, ztxt))

    def mean(loss, **given):
        return lambda z: jnp.sum(loss(*z, weight=weight, **given, **PARAMETERS[kind])) / N

    loss = contrastive_loss(kind, mesh=make_mesh(data=8), implementation=form, tile=4)
    run = jax.jit(jax.value_and_grad(mean(loss, dtype="bfloat16")))
    value, gradient = run(z)
    want, want_gradient = jax.value_and_grad(mean(contrastive_loss(kind)))(z)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for got, exact in zip(gradient, want_gradient, strict=True):
        assert float(jnp.linalg.norm(got - exact)) < 0.01 * float(jnp.linalg.norm(exact))
    products = [line for line in run.lower(z).as_text().splitlines() if "dot_general" in line]
    types = {tuple(re.findall(r"x(f32|bf16)>", line.split(" : ")[-1])) for line in products}
    assert types == {("bf16", "bf16", "f32")}


def test_a_setting_says_of_what_dtype_operands_are_whatever_the_towers_compute_in():
    zimg, ztxt, _ = pairs()
    given = dict(dtype="bfloat16", **PARAMETERS["softmax"])
    want = contrastive_loss("softmax")(zimg, ztxt, **PARAMETERS["softmax"])
    asked = contrastive_loss("softmax", operands="float32")(zimg, ztxt, **given)
    np.testing.assert_array_equal(asked, want)
    assert bool(jnp.any(contrastive_loss("softmax")(zimg, ztxt, **given) != want))
    with pytest.raises(ValueError, match="operands must be one of model, float32, bfloat16"):
        contrastive_loss("softmax", operands="float16")


def temporary_bytes(loss, mesh, n, kind="softmax", tokens=(), **given):
    batch = NamedSharding(mesh, PartitionSpec("data"))
    z = jax.ShapeDtypeStruct((n, *tokens, D), jnp.float32, sharding=batch)
    given = given | PARAMETERS[kind]
    run = jax.jit(jax.grad(lambda a, b: jnp.sum(loss(a, b, **given)), argnums=(0, 1)))
    return run.lower(z, z).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("kind", PARAMETERS)
def test_the_ring_never_holds_the_logits(kind):
    n, mesh = 8192, make_mesh(data=8)
    ring = contrastive_loss(kind, mesh=mesh, implementation="ring", tile=128)
    rows_of_logits = 4 * n * n // 8
    assert temporary_bytes(ring, mesh, n, kind) < rows_of_logits // 20
    gathered = contrastive_loss(kind, mesh=mesh, implementation="gathered")
    assert temporary_bytes(gathered, mesh, n, kind) >= rows_of_logits


def test_nor_does_it_hold_the_products_of_all_tokens():
    n, t, mesh = 1024, 8, make_mesh(data=8)
    ring = contrastive_loss("softmax", mesh=mesh, implementation="ring", tile=128)

    def loss(zimg, ztxt, **given):
        return ring(Tokens(zimg), Tokens(ztxt), similarity="late_interaction", **given)

    assert temporary_bytes(loss, mesh, n, tokens=(t,)) < 4 * (n * t) ** 2 // 8 // 20


def test_auto_is_dense_alone_then_gathered_then_ring():
    def collectives(mesh, n):
        z = jax.ShapeDtypeStruct((n, D), jnp.float32)
        text = str(jax.make_jaxpr(contrastive_loss("softmax", mesh=mesh))(z, z, scale=1.0))
        return {name for name in ("all_gather", "ppermute") if name in text}

    mesh = make_mesh(data=8)
    assert collectives(None, 64) == collectives(make_mesh(data=1), 64) == set()
    assert collectives(make_mesh(tensor=8), 64) == set()
    assert collectives(mesh, 64) == collectives(mesh, 16384) == {"all_gather"}
    assert collectives(mesh, 32768) == {"ppermute"}


def test_auto_on_one_device_is_tiles_from_16_384_pairs_on_where_these_are_possible():
    def makes_all(n, *, mesh=None, **given):
        z = jax.ShapeDtypeStruct((n, D), jnp.float32)
        loss = contrastive_loss("softmax", mesh=mesh)
        text = str(jax.make_jaxpr(lambda a, b: loss(a, b, scale=1.0, **given))(z, z))
        return f"[{n},{n}]" in text

    assert makes_all(16384) and not makes_all(16385)
    assert makes_all(16384, mesh=make_mesh(data=1)) and not makes_all(16385, mesh=make_mesh(data=1))
    assert makes_all(16385, similarity=cosines)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="kind must be one of softmax, sigmoid, got 'clip'"):
        contrastive_loss("clip")
    with pytest.raises(ValueError, match="one of auto, dense, gathered, ring, got 'fast'"):
        contrastive_loss("softmax", implementation="fast")
    with pytest.raises(ValueError, match="tile must be at least 1, got 0"):
        contrastive_loss("softmax", tile=0)
    for mesh in (None, make_mesh(tensor=8)):
        with pytest.raises(ValueError, match="'gathered' needs a mesh with an axis data or fsdp"):
            contrastive_loss("softmax", mesh=mesh, implementation="gathered")


def test_a_batch_that_does_not_divide_is_refused_with_ones_that_do():
    loss = contrastive_loss("softmax", mesh=make_mesh(data=8), implementation="ring")
    z = jnp.ones((100, D))
    with pytest.raises(ValueError, match="divide by 8 devices, got 100; try 96 or 104"):
        loss(z, z, scale=1.0)
