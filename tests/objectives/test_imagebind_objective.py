import functools
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.filled import filled
from tests.losses.loss_reference import softmax_reference
from tests.objectives.calling import call
from vlp.models.bound import Bound
from vlp.objectives import Context
from vlp.objectives.common.present import encode_present
from vlp.objectives.imagebind import ImageBind
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import batch_sharding

N = 16
TOWER = dict(width=16, depth=1, num_heads=2)
PAIRS = ("image-text", "image-audio")
SCALES = {"image-text": 5.0, "image-audio": 9.0}


@functools.cache
def model():
    made = filled(
        lambda: Bound(
            image=dict(image_size=8, patch_size=4, **TOWER),
            text=dict(vocab_size=20, length=6, **TOWER),
            audio=dict(frames=12, n_mels=8, patch_size=(4, 4), **TOWER),
            embed_dim=8,
            pairs=PAIRS,
            rngs=nnx.Rngs(0),
        )
    )
    for pair, scale in SCALES.items():
        made.log_scales[pair][...] = jnp.log(jnp.float32(scale))
    return made


def make_batch():
    """Half of the rows are of a drawing and its name, half of one and a sound; row 5 has all
    three, and rows 2 and 11 are no examples."""
    rng = np.random.default_rng(0)
    heard = np.arange(N) % 2 == 0
    return {
        "image": jnp.asarray(rng.integers(0, 256, (N, 8, 8, 3), np.uint8)),
        "text": jnp.asarray(rng.integers(2, 20, (N, 6), np.int32)).at[:, -1].set(1),
        "audio": jnp.float32(rng.normal(size=(N, 12, 8))),
        "present/image": jnp.ones(N, bool),
        "present/text": jnp.asarray(~heard),
        "present/audio": jnp.asarray(heard).at[5].set(True),
        "weight": jnp.ones(N).at[jnp.array([2, 11])].set(0),
    }


def means(objective, model, batch):
    """The mean of each term over the rows it is about, and their weighted sum."""
    terms, metrics, _ = objective(Context(model=model, batch=batch, key=jax.random.key(0)))
    found = {}
    for name, term in terms.items():
        weight = jnp.where(term.rows, batch["weight"], 0)
        found[name] = jnp.sum(jnp.where(weight > 0, term.values, 0) * weight) / jnp.sum(weight)
    return sum(terms[name].weight * mean for name, mean in found.items()), (found, metrics)


def outcome(objective, batch):
    graphdef, params = nnx.split(model())

    def total(params, batch):
        return means(objective, nnx.merge(graphdef, params), batch)

    run = jax.jit(jax.value_and_grad(total, has_aux=True))
    (_, (found, metrics)), gradient = run(nnx.as_pure(params), batch)
    return jax.tree.map(np.asarray, (found, gradient, metrics))


@functools.cache
def whole():
    return outcome(ImageBind(), make_batch())


def assert_equal(got, want):
    """To 1e-5 of the largest value of each array: gradients of sums round as the sums do."""

    def check(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))

    jax.tree.map(check, got, want)


def test_each_term_is_the_contrast_of_the_rows_that_have_both():
    batch, modalities = make_batch(), ("image", "text", "audio")
    z = jax.jit(lambda model, batch: [model.encode(m, batch[m]).embedding for m in modalities])
    z = dict(zip(modalities, map(np.float64, z(model(), batch)), strict=True))
    weight = np.asarray(batch["weight"])
    for name, other in (("image_text", "text"), ("image_audio", "audio")):
        rows = np.flatnonzero(np.asarray(batch[f"present/{other}"]) & (weight > 0))
        scale = SCALES[name.replace("_", "-")]
        want = softmax_reference(z["image"][rows], z[other][rows], scale, np.ones(len(rows)))
        np.testing.assert_allclose(whole()[0][name], want.mean(), atol=1e-5)
        nearest = np.argmax(z["image"][rows] @ z[other][rows].T, axis=1) == np.arange(len(rows))
        np.testing.assert_allclose(whole()[2][f"{name}_top1"], nearest.mean(), atol=1e-6)
        np.testing.assert_allclose(whole()[2][f"{name}_scale"], scale, rtol=1e-5)


def test_what_an_absent_modality_or_a_row_without_weight_holds_changes_nothing():
    batch, other = make_batch(), make_batch()
    no_example = batch["weight"] == 0
    for name in ("text", "audio"):
        lost = ~batch[f"present/{name}"] | no_example
        lost = lost.reshape(N, *(1,) * (batch[name].ndim - 1))
        other[name] = jnp.where(lost, batch[name][::-1] % 7 + 3, batch[name])
    other["image"] = jnp.where(no_example.reshape(N, 1, 1, 1), jnp.uint8(9), batch["image"])
    assert not np.array_equal(other["audio"], batch["audio"])
    assert_equal(outcome(ImageBind(), other), whole())


def test_a_pair_that_no_row_has_gives_no_loss_and_no_gradient():
    batch = make_batch() | {"present/audio": jnp.zeros(N, bool)}
    graphdef, params = nnx.split(model())

    def total(params):
        return jnp.sum(call(ImageBind(), nnx.merge(graphdef, params), batch)[0])

    gradient = jax.jit(jax.grad(total))(nnx.as_pure(params))
    largest = {name: [float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient[name])]
               for name in ("audio", "text")}  # fmt: skip
    assert max(largest["audio"]) == 0 and max(largest["text"]) > 0


def test_weights_are_of_the_pairs_in_their_order():
    context = Context(model=model(), batch=make_batch(), key=jax.random.key(0))
    found: dict = {}

    def note(objective):
        terms = objective(context).terms
        found.update({name: term.weight for name, term in terms.items()})
        return [term.values for term in terms.values()]

    jax.eval_shape(lambda: note(ImageBind(weights=(1.0, 0.25))))
    assert found == {"image_text": 1.0, "image_audio": 0.25}


@pytest.mark.parametrize("implementation", ["gathered", "ring"])
def test_eight_devices_give_the_values_and_gradients_of_one(implementation):
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    batch = jax.device_put(make_batch(), NamedSharding(mesh, PartitionSpec("data")))
    assert_equal(outcome(ImageBind(mesh=mesh, implementation=implementation), batch), whole())


@pytest.mark.parametrize(
    ("devices", "most_rows"), [(1, dict(text=8, audio=9)), (1, dict(audio=12)), (8, dict(text=1))]
)
def test_encoding_no_more_rows_than_have_a_modality_changes_nothing(devices, most_rows):
    mesh = jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])
    batch = jax.device_put(make_batch(), NamedSharding(mesh, PartitionSpec("data")))
    assert_equal(outcome(ImageBind(mesh=mesh, most_rows=most_rows), batch), whole())


def test_rows_change_places_without_leaving_their_device():
    mesh = make_mesh(fsdp=4)

    def encoded(audio, present):
        batch = {"audio": audio, "present/audio": present}
        flat = SimpleNamespace(encode=lambda _, x: SimpleNamespace(embedding=x.sum(axis=1)))
        return jnp.sum(encode_present(flat, batch, "audio", most=4, shards=8) ** 2, axis=1)

    where = batch_sharding(mesh)
    given = (
        jax.ShapeDtypeStruct((64, 12, 8), jnp.float32, sharding=where),
        jax.ShapeDtypeStruct((64,), bool, sharding=where),
    )
    program = jax.jit(encoded, out_shardings=where).lower(*given).compile().as_text()
    assert not re.search("all-(gather|reduce|to-all)|collective-permute", program)


def test_a_tower_sees_only_so_many_rows():
    seen = []

    class Seeing:
        log_scales = model().log_scales

        def encode(self, name, inputs, **settings):
            seen.append((name, len(inputs)))
            return model().encode(name, inputs, **settings)

    objective = ImageBind(most_rows=dict(text=8, audio=9))
    context = Context(model=Seeing(), batch=make_batch(), key=jax.random.key(0))
    jax.eval_shape(lambda: [term.values for term in objective(context).terms.values()])
    assert seen == [("image", N), ("text", 8), ("audio", 9)]


def test_the_fields_are_those_of_the_pairs_and_whether_they_are_there():
    assert ImageBind(pairs=("image-audio",)).fields == (
        "image", "audio", "present/image", "present/audio",
    )  # fmt: skip


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"one a pair, 2, got \[1.0\]"):
        ImageBind(weights=(1.0,))
    with pytest.raises(ValueError, match="must compare text-audio, got image-audio, image-text; s"):
        jax.eval_shape(lambda: call(ImageBind(pairs=("text-audio",)), model(), make_batch()))
