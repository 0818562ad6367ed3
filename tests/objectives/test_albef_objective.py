"""ALBEF's objective: its parts, what is absent, its momentum, and devices."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from tests.objectives.calling import call
from vlp.models import Albef as Model
from vlp.objectives.albef import Albef
from vlp.objectives.common.queue import enqueue
from vlp.parallel.ids import id_words
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import batch_sharding, carry_shardings

N, LENGTH, PAD, END, MASK, VOCAB = 16, 6, 0, 1, 20, 21
TOWER = dict(width=16, depth=1, num_heads=2)


def make(seed):
    made = filled(
        lambda: Model(
            image=dict(image_size=8, patch_size=4, **TOWER),
            text=dict(kind="bert", vocab_size=VOCAB, length=LENGTH, pooler=False, **TOWER),
            fusion=dict(depth=1, num_heads=2),
            embed_dim=8,
            rngs=nnx.Rngs(seed),
        ),
        seed=seed,
    )
    made.log_scale[...] = jnp.float32(math.log(10))
    return made


@functools.cache
def models():
    """The model and a momentum with other weights."""
    return make(0), make(1)


def make_batch():
    """The third pair is absent; samples 4 and 5 are one; 6 and 7 have the same caption."""
    rng = np.random.default_rng(0)
    text = rng.integers(3, 20, (N, LENGTH), np.int32)
    ends = rng.integers(2, LENGTH, N)
    text[:, 0], text[np.arange(N), ends] = 2, END
    text[np.arange(LENGTH)[None] > ends[:, None]] = PAD
    text[7] = text[6]
    ids = np.arange(N, dtype=np.int32)
    ids[5] = 4
    return {
        "image": jnp.asarray(rng.integers(0, 256, (N, 8, 8, 3), np.uint8)),
        "text": jnp.asarray(text),
        "weight": jnp.ones(N).at[2].set(0).at[4].set(2.5),
        "id": jnp.asarray(id_words(ids)),
    }


def objective(**settings):
    return Albef(**dict(mask_id=MASK, queue_size=2 * N) | settings)


def carried(loss, steps=1):
    """A queue that is half full."""
    carry = loss.make_carry(models()[0], global_batch_size=N)
    for step in range(steps):
        rng = np.random.default_rng(step)
        z = rng.normal(size=(2, N, 8))
        z = jnp.float32(z / np.linalg.norm(z, axis=2, keepdims=True))
        carry = enqueue(carry, zimg=z[0], ztxt=z[1], present=jnp.ones(N, bool))
    return carry


@functools.cache
def compiled(loss):
    graphdef, _ = nnx.split(models()[0])

    def mean(params, slow, batch, carry, step=0):
        model, momentum = nnx.merge(graphdef, params), nnx.merge(graphdef, slow)
        losses, metrics, carry = call(loss, model, batch, momentum=momentum, carry=carry, step=step)
        weight = batch["weight"]
        value = jnp.sum(jnp.where(weight > 0, losses * weight, 0.0)) / jnp.sum(weight)
        return value, (losses, metrics, carry)

    return jax.jit(jax.value_and_grad(mean, has_aux=True))


DEFAULT = objective()


def outcome(loss=DEFAULT, batch=None, *, carry=None, step=0, place=lambda x: x):
    """The mean, losses, metrics, carry and gradients."""
    params, slow = (nnx.as_pure(nnx.split(model)[1]) for model in models())
    batch = make_batch() if batch is None else batch
    carry = carried(loss) if carry is None else carry
    (value, rest), gradient = compiled(loss)(params, slow, *place((batch, carry)), step)
    return jax.tree.map(np.asarray, (value, *rest, gradient))


@functools.cache
def usual():
    return outcome()


def assert_equal(got, want):
    def check(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))

    jax.tree.map(check, got, want)


def test_it_is_the_sum_of_its_three_losses():
    value, losses, metrics, *_ = usual()
    parts = [metrics[f"{name}_loss"] for name in ("contrastive", "matching", "masked")]
    np.testing.assert_allclose(losses, sum(parts), rtol=1e-6)
    assert np.isfinite(value) and all(part.max() > 0 for part in parts)


def test_every_parameter_learns_but_the_types_that_no_token_has():
    *_, gradient = usual()
    for path, array in jax.tree.leaves_with_path(gradient):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        unused = name.endswith("text/types")
        key_bias = "qkv/bias" in name or "key_value/bias" in name  # zero for the keys by theory
        assert np.any(array) or key_bias, name
        assert not unused or not np.any(array[1])


def test_an_absent_pair_changes_nothing_whatever_it_holds():
    batch = make_batch()
    batch["image"] = batch["image"].at[2].set(255)
    batch["text"] = batch["text"].at[2].set(jnp.array([2, 9, 9, 9, 1, 0], jnp.int32))
    value, losses, _, carry, gradient = outcome(batch=batch)
    want_value, want_losses, _, want_carry, want = usual()
    present = np.arange(N) != 2
    assert_equal((value, losses[present], gradient), (want_value, want_losses[present], want))
    np.testing.assert_array_equal(carry["present"][1], present)
    np.testing.assert_allclose(carry["zimg"][1, present], want_carry["zimg"][1, present], atol=1e-6)


def test_the_queue_takes_in_the_momentums_features():
    *_, carry, _ = usual()
    _, momentum = models()
    batch = make_batch()
    want = momentum.encode_image(batch["image"]).embedding
    np.testing.assert_allclose(carry["zimg"][1], want, atol=1e-5)
    assert int(carry["batches"]) == 2


def test_older_features_are_candidates():
    empty = outcome(carry=carried(DEFAULT, steps=0))
    assert np.all(empty[2]["contrastive_loss"] <= usual()[2]["contrastive_loss"])


def test_the_weight_of_soft_targets_rises_over_the_ramp():
    loss = objective(ramp=4)
    seen = [float(outcome(loss, step=step)[2]["distillation"]) for step in range(6)]
    np.testing.assert_allclose(seen, [0, 0.1, 0.2, 0.3, 0.4, 0.4], atol=1e-6)


def test_without_distillation_the_momentum_gives_keys_alone():
    loss = objective(distillation=0.0)
    params, slow = (nnx.as_pure(nnx.split(model)[1]) for model in models())
    other = jax.tree.map(jnp.zeros_like, slow["token_head"])
    args = (make_batch(), carried(loss))
    (want, _), _ = compiled(loss)(params, slow, *args)
    (got, _), _ = compiled(loss)(params, slow | {"token_head": other}, *args)
    assert float(got) == float(want)


@pytest.mark.slow
def test_eight_devices_give_what_one_gives():
    mesh = make_mesh(fsdp=2)

    def place(pair):
        batch, carry = pair
        placed = jax.device_put(carry, carry_shardings(carry, mesh=mesh))
        return jax.device_put(batch, batch_sharding(mesh)), placed

    assert_equal(outcome(place=place), usual())
