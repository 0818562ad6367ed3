"""BLIP's objective: its parts, what is absent, what it asks for, and devices."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.capfilt import FREEZE
from tests.filled import filled
from tests.objectives.calling import call
from vlp.models import Albef
from vlp.models import Blip as Model
from vlp.objectives.blip import Blip
from vlp.objectives.common.queue import enqueue
from vlp.parallel.ids import id_words
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import batch_sharding, carry_shardings

N, LENGTH, PAD, END, VOCAB = 16, 6, 0, 1, 22
TOWER = dict(width=16, depth=1, num_heads=2)
TEXT = dict(kind="bert", vocab_size=VOCAB, length=LENGTH, pooler=False, **TOWER)
KWARGS = dict(
    image=dict(image_size=8, patch_size=4, **TOWER),
    text=TEXT | dict(num_types=None),
    modes=["encode", "decode"],
    embed_dim=8,
    end_id=END,
)


def make(seed, **changes):
    made = filled(lambda: Model(**KWARGS | changes, rngs=nnx.Rngs(seed)), seed=seed)
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


LOSS = Blip(queue_size=2 * N)


def carried():
    """A queue that is half full."""
    z = np.random.default_rng(0).normal(size=(2, N, 8))
    z = jnp.float32(z / np.linalg.norm(z, axis=2, keepdims=True))
    empty = LOSS.make_carry(models()[0], global_batch_size=N)
    return enqueue(empty, zimg=z[0], ztxt=z[1], present=jnp.ones(N, bool))


@functools.cache
def compiled():
    graphdef, _ = nnx.split(models()[0])

    def mean(params, slow, batch, carry):
        model, momentum = nnx.merge(graphdef, params), nnx.merge(graphdef, slow)
        losses, metrics, carry = call(LOSS, model, batch, momentum=momentum, carry=carry)
        weight = batch["weight"]
        value = jnp.sum(jnp.where(weight > 0, losses * weight, 0.0)) / jnp.sum(weight)
        return value, (losses, metrics, carry)

    return jax.jit(jax.value_and_grad(mean, has_aux=True))


def outcome(batch=None, *, place=lambda x: x, slow=None):
    """The mean, losses, metrics, carry and gradients."""
    params, momentum = (nnx.as_pure(nnx.split(model)[1]) for model in models())
    batch = make_batch() if batch is None else batch
    slow = momentum if slow is None else slow
    (value, rest), gradient = compiled()(params, slow, *place((batch, carried())))
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
    parts = [metrics[f"{name}_loss"] for name in ("contrastive", "matching", "caption")]
    np.testing.assert_allclose(losses, sum(parts), rtol=1e-6)
    assert np.isfinite(value) and all(part.max() > 0 for part in parts)


def test_the_caption_s_loss_is_a_mean_over_the_tokens_of_all_present_captions():
    _, _, metrics, *_ = usual()
    model, batch = models()[0], make_batch()
    logits = model.decode(model.encode_image(batch["image"]), None, batch["text"])
    targets = np.asarray(batch["text"][:, 1:])
    log_p = np.asarray(jax.nn.log_softmax(logits), np.float64)
    own = np.take_along_axis(log_p, targets[..., None], axis=2)[..., 0]
    nats = -(0.9 * own + 0.1 * log_p.mean(axis=2)) * (targets != PAD)
    weight = np.asarray(batch["weight"], np.float64)
    want = (weight @ nats.sum(axis=1)) / (weight @ (targets != PAD).sum(axis=1))
    np.testing.assert_allclose(np.average(metrics["caption_loss"], weights=weight), want, rtol=1e-5)


def test_every_parameter_learns():
    *_, gradient = usual()
    for path, array in jax.tree.leaves_with_path(gradient):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        assert np.any(array), name


def test_an_absent_pair_changes_nothing_whatever_it_holds():
    batch = make_batch()
    batch["image"] = batch["image"].at[2].set(255)
    batch["text"] = batch["text"].at[2].set(jnp.array([2, 9, 9, 9, 1, 0], jnp.int32))
    value, losses, _, _, gradient = outcome(batch)
    want_value, want_losses, _, _, want = usual()
    present = np.arange(N) != 2
    assert_equal((value, losses[present], gradient), (want_value, want_losses[present], want))


def test_the_momentum_has_no_say_in_matching_and_captions():
    _, momentum = (nnx.as_pure(nnx.split(model)[1]) for model in models())
    rest = ("token_head", "match_head", "grounding")
    other = momentum | {name: jax.tree.map(jnp.zeros_like, momentum[name]) for name in rest}
    assert_equal(outcome(slow=other), usual())


@pytest.mark.slow
def test_eight_devices_give_what_one_gives():
    mesh = make_mesh(fsdp=2)

    def place(pair):
        batch, carry = pair
        placed = jax.device_put(carry, carry_shardings(carry, mesh=mesh))
        return jax.device_put(batch, batch_sharding(mesh)), placed

    assert_equal(outcome(place=place), usual())


def alone(task, momentum=None):
    """Mean, losses, metrics, carry and gradients of one task."""
    objective = Blip(tasks=(task,), queue_size=2 * N)
    graphdef, params = nnx.split(models()[0])
    carry = carried() if objective.momentum else None

    def mean(params, batch):
        model = nnx.merge(graphdef, params)
        losses, metrics, after = call(objective, model, batch, momentum=momentum, carry=carry)
        weight = batch["weight"]
        value = jnp.sum(jnp.where(weight > 0, losses * weight, 0.0)) / jnp.sum(weight)
        return value, (losses, metrics, after)

    run = jax.jit(jax.value_and_grad(mean, has_aux=True))
    (value, rest), gradient = run(nnx.as_pure(params), make_batch())
    return jax.tree.map(np.asarray, (value, *rest, gradient))


def test_both_tasks_alone_add_up_to_the_whole_and_train_what_a_stage_of_capfilt_does():
    align, write = alone("align", models()[1]), alone("write")
    value, losses, metrics, carry, gradient = usual()
    assert_equal(align[0] + write[0], value)
    assert_equal(align[1] + write[1], losses)
    assert align[2].keys() | write[2].keys() == metrics.keys()
    assert_equal(align[3], carry)
    assert write[3] is None
    assert_equal(jax.tree.map(np.add, align[4], write[4]), gradient)
    for found, stage in ((align, "filter"), (write, "captioner")):
        for path, array in jax.tree.leaves_with_path(found[4]):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            frozen = any(re.fullmatch(p, name) for p in FREEZE[stage])
            assert np.any(array) != frozen, name


@pytest.mark.parametrize("tasks", [(), ("match",), "write"])
def test_tasks_are_some_of_two(tasks):
    with pytest.raises(ValueError, match=r"tasks must be some of align, write, got .*; try"):
        Blip(tasks=tasks)


def refused(model, message):
    with pytest.raises(ValueError, match=message):
        call(LOSS, model, make_batch(), carry=carried())


def test_it_refuses_models_that_lack_a_mode():
    refused(make(0, modes=["encode"]), r"needs a model for write, got Blip, which is not; give")
    refused(make(0, end_id=PAD), "end with a token that is not padding")
    kwargs = {k: v for k, v in KWARGS.items() if k not in ("modes", "end_id")}
    kwargs |= dict(text=TEXT, fusion=dict(depth=1, num_heads=2))
    albef = nnx.eval_shape(lambda: Albef(**kwargs, rngs=nnx.Rngs(0)))
    refused(albef, r"needs a model for write, got Albef, which is not; give model.preset")
