"""CoCa's objective: both losses from one pass, alike in parts and over a mesh."""

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
from vlp.models import CoCa, DualEncoder
from vlp.objectives.clip import Clip
from vlp.objectives.coca import Coca

N, LENGTH, PAD, EOS = 10, 6, 0, 1
TOWER = dict(width=16, depth=1, num_heads=2)
IMAGE = dict(image_size=8, patch_size=2, **TOWER)
TEXT = dict(vocab_size=20, length=LENGTH, eos_id=EOS, pad_id=PAD, **TOWER)


@functools.cache
def model():
    queries = dict(width=16, num_queries=4, num_heads=2)
    made = filled(
        lambda: CoCa(
            image=dict(**IMAGE, pool="queries", queries=queries),
            text=dict(**TEXT, pool="cls_last"),
            decoder=dict(depth=1, num_heads=2),
            embed_dim=8,
            rngs=nnx.Rngs(0),
        )
    )
    made.log_scale[...] = jnp.float32(math.log(10))
    return made


def make_batch():
    """Captions of 2 to 6 tokens; the third pair is absent."""
    rng = np.random.default_rng(0)
    text = rng.integers(2, 20, (N, LENGTH), np.int32)
    ends = rng.integers(1, LENGTH, N)
    text[np.arange(N), ends] = EOS
    text[np.arange(LENGTH)[None] > ends[:, None]] = PAD
    return {
        "image": jnp.asarray(rng.integers(0, 256, (N, 8, 8, 3), np.uint8)),
        "text": jnp.asarray(text),
        "weight": jnp.ones(N).at[2].set(0).at[4].set(2.5),
    }


def outcome(objective, batch):
    """Losses and metrics, the weighted mean and its gradient."""
    graphdef, params = nnx.split(model())

    def mean(params, batch):
        losses, metrics, _ = call(objective, nnx.merge(graphdef, params), batch)
        weight = batch["weight"]
        return jnp.sum(losses * weight) / jnp.sum(weight), (losses, metrics)

    run = jax.jit(jax.value_and_grad(mean, has_aux=True))
    (value, (losses, metrics)), gradient = run(nnx.as_pure(params), batch)
    return jax.tree.map(np.asarray, (losses, metrics, value, gradient))


@functools.cache
def whole(patch_drop=0.0):
    return outcome(Coca(patch_drop=patch_drop), make_batch())


def assert_equal(got, want):
    """To 1e-5 of the largest value of each array: gradients of sums round as the sums do."""

    def check(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))

    jax.tree.map(check, got, want)


def predictions():
    """Log-probabilities of what follows each token, and where it is the likeliest; numpy."""
    batch, coca = make_batch(), model()
    image, caption = coca.encode_image(batch["image"]), coca.encode_text(batch["text"])
    logits = np.float64(coca.decode(image, caption, batch["text"]))
    logs = logits - np.log(np.sum(np.exp(logits), axis=2, keepdims=True))
    return logs, np.argmax(logits, axis=2)


def test_the_mean_is_that_of_the_pairs_and_twice_that_of_all_tokens():
    batch = make_batch()
    text, weight = np.asarray(batch["text"]), np.asarray(batch["weight"])
    logs, likeliest = predictions()
    nats, hits, count = 0.0, 0.0, 0.0
    for i in range(N):
        for t in range(1, LENGTH):
            if text[i, t] != PAD:
                nats -= weight[i] * logs[i, t - 1, text[i, t]]
                hits += weight[i] * (likeliest[i, t - 1] == text[i, t])
                count += weight[i]
    clip, *_ = outcome(Clip(), batch)
    want = np.sum(clip * weight) / np.sum(weight) + 2 * nats / count
    _, metrics, value, _ = whole()
    np.testing.assert_allclose(value, want, rtol=1e-5)
    mean = functools.partial(np.average, weights=weight)
    np.testing.assert_allclose(mean(metrics["caption_loss"]), nats / count, rtol=1e-5)
    np.testing.assert_allclose(mean(metrics["caption_accuracy"]), hits / count, rtol=1e-5)
    np.testing.assert_allclose(metrics["contrastive_loss"], clip, rtol=1e-5)


def test_without_captions_it_is_clip():
    losses, _, value, gradient = outcome(Coca(caption_weight=0.0), make_batch())
    want_losses, _, want_value, want = outcome(Clip(), make_batch())
    assert_equal((losses, value, gradient), (want_losses, want_value, want))


@pytest.mark.parametrize(("size", "patch_drop"), [(1, 0.0), (4, 0.5)])
def test_micro_batches_change_neither_losses_nor_gradients(size, patch_drop):
    objective = Coca(micro_batch_size=size, patch_drop=patch_drop)
    assert_equal(outcome(objective, make_batch()), whole(patch_drop))


def test_a_mesh_changes_neither_losses_nor_gradients():
    mesh = jax.make_mesh((5,), ("data",), (AxisType.Auto,), devices=jax.devices()[:5])
    batch = jax.device_put(make_batch(), NamedSharding(mesh, PartitionSpec("data")))
    assert_equal(outcome(Coca(mesh=mesh, implementation="ring"), batch), whole())


def test_an_absent_pair_is_as_good_as_not_there():
    batch = make_batch()
    other = batch | {"text": batch["text"].at[2].set(7), "image": batch["image"].at[2].set(0)}
    assert_equal(outcome(Coca(), other)[2:], whole()[2:])


def test_a_batch_without_a_token_to_predict_is_clip_s():
    batch = make_batch()
    batch["text"] = batch["text"].at[:, 1:].set(PAD)
    losses, metrics, _, gradient = outcome(Coca(), batch)
    assert_equal(losses, outcome(Clip(), batch)[0])
    assert not np.any(metrics["caption_loss"])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_a_model_without_a_decoder_is_refused():
    clip = DualEncoder(image=IMAGE, text=TEXT, embed_dim=8, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"without a decoder; give model\.decoder"):
        call(Coca(), clip, make_batch())


def test_captions_that_end_in_padding_are_refused():
    coca = nnx.clone(model())
    coca.text.pad_id = EOS
    with pytest.raises(ValueError, match="must end with a token that is not padding.*eos_id 1"):
        call(Coca(), coca, make_batch())


@pytest.mark.slow
def test_a_small_model_learns_its_pairs_and_captions_by_heart():
    graphdef, params = nnx.split(model())
    optimizer, batch = optax.adam(1e-2), make_batch()

    @jax.jit
    def train(params):
        def mean(params):
            losses, metrics, _ = call(Coca(), nnx.merge(graphdef, params), batch)
            return jnp.average(losses, weights=batch["weight"]), metrics

        def step(state, _):
            params, moments = state
            gradient, metrics = jax.grad(mean, has_aux=True)(params)
            updates, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(params, updates), moments), metrics

        return jax.lax.scan(step, (params, optimizer.init(params)), length=150)[1]

    with jax.numpy_dtype_promotion("standard"):  # optax's Adam needs it
        metrics = jax.tree.map(lambda x: np.asarray(x[-1]), train(nnx.as_pure(params)))
    assert metrics["image_to_text_top1"] == 1
    correct = np.average(metrics["caption_accuracy"], weights=batch["weight"])
    np.testing.assert_allclose(correct, 1, rtol=1e-6)
