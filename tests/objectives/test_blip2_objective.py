"""BLIP-2's objective: its parts by themselves, what is absent, and who learns from it."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util

from tests.filled import filled
from tests.objectives.calling import call
from vlp.models import Albef, DualEncoder
from vlp.models import Blip2 as Model
from vlp.models.protocols import given
from vlp.objectives.blip2 import Blip2
from vlp.parallel.ids import id_words

N, LENGTH, PAD, END, VOCAB = 8, 6, 0, 1, 22
TOWER = dict(width=16, depth=2, num_heads=2)
TEXT = dict(kind="bert", vocab_size=VOCAB, length=LENGTH, pooler=False, **TOWER)
KWARGS = dict(
    image=dict(kind="frozen", image_size=8, width=16),
    text=TEXT | dict(num_types=None),
    embed_dim=8,
    end_id=END,
    num_queries=3,
    init_scale=10.0,
)
LOSS = Blip2(negatives="hardest")


@functools.cache
def model():
    made = filled(lambda: Model(**KWARGS, rngs=nnx.Rngs(0)))
    made.log_scale[...] = jnp.float32(math.log(10))
    return made


@functools.cache
def frozen():
    image = dict(image_size=8, patch_size=4, **TOWER)
    kwargs = dict(image=image, text=None, embed_dim=7)
    return {"image": filled(lambda: DualEncoder(**kwargs, rngs=nnx.Rngs(1)), seed=1)}


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


@functools.cache
def compiled():
    graphdef, _ = nnx.split(model())

    def mean(params, batch):
        whole = given(nnx.merge(graphdef, params), frozen())
        losses, metrics, _ = call(LOSS, whole, batch)
        encoded = whole.encode_image(batch["image"]), whole.encode_text(batch["text"])
        weight = batch["weight"]
        value = jnp.sum(jnp.where(weight > 0, losses * weight, 0.0)) / jnp.sum(weight)
        return value, (losses, metrics, encoded)

    return jax.jit(jax.value_and_grad(mean, has_aux=True))


def outcome(batch):
    (value, rest), gradient = compiled()(nnx.as_pure(nnx.split(model())[1]), batch)
    return jax.tree.map(np.asarray, (value, *rest, gradient))


@functools.cache
def usual():
    return outcome(make_batch())


@pytest.mark.slow
def test_it_is_the_sum_of_its_three_losses():
    value, losses, metrics, *_ = usual()
    parts = [metrics[f"{name}_loss"] for name in ("contrastive", "matching", "caption")]
    np.testing.assert_allclose(losses, sum(parts), rtol=1e-6)
    assert np.isfinite(value) and all(part.max() > 0 for part in parts)


@pytest.mark.slow
def test_the_contrast_is_smoothed_cross_entropy_of_the_nearest_query_among_who_is_there():
    _, _, metrics, (image, caption), _ = usual()
    there = np.flatnonzero(make_batch()["weight"] > 0)
    zimg, ztxt = (np.asarray(z.embedding, np.float64)[there] for z in (image, caption))
    logits = 10 * np.max(np.einsum("nqd,md->nmq", zimg, ztxt), axis=2)
    loss = np.zeros(len(there))
    for way in (logits, logits.T):
        log_p = way - np.log(np.exp(way).sum(axis=1, keepdims=True))
        loss -= 0.5 * (0.9 * np.diagonal(log_p) + 0.1 * log_p.mean(axis=1))
    np.testing.assert_allclose(metrics["contrastive_loss"][there], loss, atol=1e-5)
    assert metrics["contrastive_loss"][2] == 0


@pytest.mark.slow
def test_matching_asks_about_each_pair_and_its_two_hardest_wrong_ones():
    _, _, metrics, (image, caption), _ = usual()
    batch, whole = make_batch(), given(model(), frozen())
    zimg, ztxt = np.asarray(image.embedding), np.asarray(caption.embedding)
    scores = np.max(np.einsum("nqd,md->nmq", zimg, ztxt), axis=2)
    wrong = np.ones((N, N), bool)
    for a, b in [(i, i) for i in range(N)] + [(4, 5), (5, 4), (6, 7), (7, 6)]:
        wrong[a, b] = False
    wrong[2], wrong[:, 2] = False, False
    texts = np.where(wrong, scores, -np.inf).argmax(axis=1)
    images = np.where(wrong, scores, -np.inf).argmax(axis=0)
    match = jax.jit(lambda image, text: whole.match(image, image, text))

    def log_p(rows, columns, belongs):
        seen = jax.tree.map(lambda x: jnp.asarray(x)[rows], image)
        return np.asarray(jax.nn.log_softmax(match(seen, batch["text"][columns])))[:, belongs]

    own = np.arange(N)
    want = -(log_p(own, own, 1) + log_p(images, own, 0) + log_p(own, texts, 0)) / 3
    there = own != 2
    np.testing.assert_allclose(metrics["matching_loss"][there], want[there], atol=1e-5)


@pytest.mark.slow
def test_what_is_absent_changes_nothing():
    batch = make_batch()
    other = batch | {
        "image": batch["image"].at[2].set(0),
        "text": batch["text"].at[2].set(jnp.int32([2, 3, 4, 5, 6, 1])),
    }
    value, *_, gradient = outcome(other)
    np.testing.assert_allclose(value, usual()[0], rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * max(1, np.abs(b).max())),
        gradient,
        usual()[-1],
    )


@pytest.mark.slow
def test_every_parameter_learns_and_the_frozen_tower_is_none():
    gradients = traverse_util.flatten_dict(nnx.to_pure_dict(usual()[-1]), sep="/")
    assert not any(name.startswith("image/") for name in gradients)
    assert not [name for name, gradient in gradients.items() if not np.abs(gradient).max() > 0]


def test_a_model_that_cannot_is_refused_by_name():
    kwargs = KWARGS | dict(writes=False)
    mute = nnx.eval_shape(lambda: Model(**kwargs, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="needs a model that matches and writes, got Blip2"):
        call(LOSS, mute, make_batch())
    image = dict(image_size=8, patch_size=4, **TOWER)
    albef = nnx.eval_shape(
        lambda: Albef(
            image=image, text=TEXT, fusion=dict(depth=1, num_heads=2), embed_dim=8,
            rngs=nnx.Rngs(0),
        )
    )  # fmt: skip
    with pytest.raises(ValueError, match='got Albef, .*; give model.kind="blip2"'):
        call(LOSS, albef, make_batch())
