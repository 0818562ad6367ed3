import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.filled import filled
from tests.objectives.calling import call
from vlp.losses import sigmoid_loss, softmax_loss
from vlp.models import DualEncoder
from vlp.objectives.clip import Clip
from vlp.objectives.common.encode import clamped_scale, in_batch_accuracy
from vlp.objectives.siglip import SigLip

N = 10
OBJECTIVES = {"clip": Clip, "siglip": SigLip}


@functools.cache
def model(init_bias=-5.0):
    model = filled(
        lambda: DualEncoder(
            image=dict(image_size=8, patch_size=2, width=16, depth=1, num_heads=2),
            text=dict(vocab_size=20, length=6, width=16, depth=1, num_heads=2),
            embed_dim=8,
            init_bias=init_bias,
            rngs=nnx.Rngs(0),
        )
    )
    model.log_scale[...] = jnp.float32(math.log(10))
    if init_bias is not None:
        model.bias[...] = jnp.float32(init_bias)
    return model


def make_batch(n=N):
    rng = np.random.default_rng(0)
    return {
        "image": jnp.asarray(rng.integers(0, 256, (n, 8, 8, 3), np.uint8)),
        "text": jnp.asarray(rng.integers(2, 20, (n, 6), np.int32)).at[:, -1].set(1),
        "weight": jnp.ones(n).at[2].set(0),
    }


def outcome(objective, batch, key=0):
    """Per-pair losses, metrics, and the gradient of the weighted mean."""
    graphdef, params = nnx.split(model())

    def mean(params, batch):
        losses, metrics, _ = call(objective, nnx.merge(graphdef, params), batch, key=key)
        weight = batch["weight"]
        return jnp.sum(losses * weight) / jnp.sum(weight), (losses, metrics)

    run = jax.jit(jax.value_and_grad(mean, has_aux=True))
    (_, (losses, metrics)), gradient = run(nnx.as_pure(params), batch)
    return jax.tree.map(np.asarray, (losses, metrics, gradient))


@functools.cache
def whole(name, patch_drop=0.0):
    return outcome(OBJECTIVES[name](patch_drop=patch_drop), make_batch())


def assert_equal(got, want):
    """To 1e-5 of the largest value of each array: gradients of sums round as the sums do."""

    def check(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))

    jax.tree.map(check, got, want)


def test_the_losses_are_those_of_the_embeddings():
    batch, encoder = make_batch(), model()
    zimg = jax.jit(lambda x: encoder.encode_image(x).embedding)(batch["image"])
    ztxt = jax.jit(lambda x: encoder.encode_text(x).embedding)(batch["text"])
    given = dict(scale=10.0, weight=batch["weight"])
    assert_equal(whole("clip")[0], softmax_loss(zimg, ztxt, **given))
    assert_equal(whole("siglip")[0], sigmoid_loss(zimg, ztxt, bias=-5.0, **given))


@pytest.mark.parametrize(
    ("name", "size", "patch_drop"),
    [("clip", 1, 0.0), ("clip", 4, 0.5), ("siglip", 5, 0.0)],
)
def test_micro_batches_change_neither_losses_nor_gradients(name, size, patch_drop):
    objective = OBJECTIVES[name](micro_batch_size=size, patch_drop=patch_drop)
    assert_equal(outcome(objective, make_batch()), whole(name, patch_drop))


def test_dropping_patches_is_random_by_key_and_changes_the_loss():
    dropped = whole("clip", 0.5)[0]
    assert not np.allclose(dropped, whole("clip")[0])
    assert not np.allclose(dropped, outcome(Clip(patch_drop=0.5), make_batch(), key=1)[0])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_loss_over_a_mesh_takes_the_place_of_the_dense_one(name):
    mesh = jax.make_mesh((5,), ("data",), (AxisType.Auto,), devices=jax.devices()[:5])
    batch = jax.device_put(make_batch(), NamedSharding(mesh, PartitionSpec("data")))
    assert_equal(outcome(OBJECTIVES[name](mesh=mesh, implementation="ring"), batch), whole(name))


def test_the_scale_stops_at_its_maximum():
    _, metrics, _ = outcome(Clip(max_scale=5.0), make_batch())
    assert float(metrics["scale"]) == pytest.approx(5.0)


@pytest.mark.parametrize(("slope", "passes"), [(1.0, True), (-1.0, False)])
def test_at_its_maximum_the_scale_can_only_fall(slope, passes):
    gradient = jax.grad(lambda x: slope * clamped_scale(x, max_scale=5.0))
    assert bool(gradient(jnp.float32(2.0)) != 0) is passes
    assert float(gradient(jnp.float32(1.0))) == pytest.approx(slope * np.e, rel=1e-5)


def test_the_sigmoid_needs_a_bias():
    with pytest.raises(ValueError, match="needs a bias.*set init_bias=-10"):
        call(SigLip(), model(None), make_batch())


def test_accuracy_counts_present_pairs_only_and_ties_are_no_success():
    z = jnp.eye(4)
    swapped = z[jnp.array([1, 0, 2, 3])]
    got = in_batch_accuracy(z, swapped, weight=jnp.float32([1, 1, 1, 0]))
    assert [float(value) for value in got.values()] == pytest.approx([1 / 3, 1 / 3])
    collapsed = in_batch_accuracy(jnp.ones((4, 2)), jnp.ones((4, 2)), weight=jnp.ones(4))
    assert [float(value) for value in collapsed.values()] == [0.25, 0.25]
    none = in_batch_accuracy(z, z, weight=jnp.zeros(4))
    assert [float(value) for value in none.values()] == [0, 0]


def test_micro_batches_save_the_memory_of_activations():
    def temporary_bytes(objective):
        graphdef, params = nnx.split(model())

        def total(params, batch):
            encoder = nnx.merge(graphdef, params)
            return jnp.sum(call(objective, encoder, batch)[0])

        compiled = jax.jit(jax.grad(total)).lower(params, make_batch(64)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(Clip(micro_batch_size=4)) < temporary_bytes(Clip()) / 4


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_small_model_learns_its_pairs_by_heart(name):
    graphdef, params = nnx.split(model())
    optimizer, batch, objective = optax.adam(1e-2), make_batch(), OBJECTIVES[name]()

    @jax.jit
    def train(params):
        def mean(params):
            losses, metrics, _ = call(objective, nnx.merge(graphdef, params), batch)
            return jnp.mean(losses), metrics

        def step(state, _):
            params, moments = state
            gradient, metrics = jax.grad(mean, has_aux=True)(params)
            updates, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(params, updates), moments), metrics

        return jax.lax.scan(step, (params, optimizer.init(params)), length=300)[1]

    with jax.numpy_dtype_promotion("standard"):  # optax's Adam needs it
        metrics = train(nnx.as_pure(params))
    assert float(metrics["image_to_text_top1"][-1]) == 1
    assert float(metrics["text_to_image_top1"][-1]) == 1
