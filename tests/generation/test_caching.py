"""CoCa with its cache says what it says without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from tests.models.following import following
from vlp.generation import beam, greedy
from vlp.models import CoCa

LENGTH, VOCAB, END, BEGIN = 7, 20, 1, 3
IMAGE = dict(image_size=8, patch_size=4, width=16, depth=1, num_heads=2, class_token=True)
TEXT = dict(vocab_size=VOCAB, length=LENGTH, width=12, depth=2, num_heads=2, pool="cls_last")


def make(**settings):
    queries = dict(width=12, num_queries=5, num_heads=2)
    return filled(
        lambda: CoCa(
            image=IMAGE | dict(pool="queries", queries=queries),
            text=TEXT,
            decoder=dict(depth=2, num_heads=2),
            embed_dim=10,
            **settings,
            rngs=nnx.Rngs(0),
        ),
        seed=6,
    )


@pytest.fixture(scope="module")
def model():
    return make(begin_id=BEGIN)


@pytest.fixture(scope="module")
def image(model):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    return jax.jit(model.encode_image)(jnp.asarray(images))


@pytest.fixture(scope="module")
def logits_of(model):
    """What the model says of whole captions, compiled once."""

    @jax.jit
    def run(image, text):
        return following(model, image, model.encode_text(text), text)

    return run


def test_cached_logits_are_the_whole_caption_s_at_every_place(model, image, logits_of):
    text = jnp.int32(np.random.default_rng(1).integers(2, VOCAB, (4, LENGTH))).at[:, 0].set(BEGIN)
    whole = logits_of(image, text)
    ids, cache = model.start_caption(image, length=LENGTH)
    np.testing.assert_array_equal(ids, text[:, 0])
    step = jax.jit(model.next_token)
    for position in range(LENGTH):
        logits, cache = step(cache, text[:, position], jnp.int32(position))
        assert logits.dtype == jnp.float32
        np.testing.assert_allclose(logits, whole[:, position], atol=1e-5)


def test_a_cache_has_the_batch_second(model, image):
    _, cache = model.start_caption(image, length=5)
    shapes = [leaf.shape for leaf in jax.tree.leaves(cache)]
    assert shapes == [(2, 4, 5, 2, 6)] * 4 + [(2, 4, 4, 2, 6)] * 2


def test_greedy_is_the_argmax_of_the_decoder_token_by_token(model, image, logits_of):
    found = jax.jit(lambda image: greedy(model, image, min_length=2))(image)
    rows = np.full((4, LENGTH), model.pad_id, np.int32)
    rows[:, 0] = BEGIN
    ended = np.zeros(4, bool)
    for position in range(LENGTH - 1):
        logits = np.array(logits_of(image, jnp.asarray(rows)))[:, position]
        logits[:, model.pad_id] = -np.inf
        if position + 1 < 2:
            logits[:, END] = -np.inf
        rows[~ended, position + 1] = logits.argmax(axis=1)[~ended]
        ended |= rows[:, position + 1] == END
    np.testing.assert_array_equal(found.ids, rows)
    assert len({tuple(row) for row in rows.tolist()}) > 1  # the images are seen


def test_a_row_s_score_is_that_of_the_whole_caption(model, image, logits_of):
    found = jax.jit(lambda image: beam(model, image, num_beams=3, length_penalty=0.0))(image)
    said = jax.nn.log_softmax(logits_of(image, found.ids)[:, :-1])
    chosen = jnp.take_along_axis(said, found.ids[:, 1:, None], axis=2)[:, :, 0]
    total = jnp.sum(jnp.where(found.ids[:, 1:] == model.pad_id, 0.0, chosen), axis=1)
    np.testing.assert_allclose(found.scores, total, atol=1e-5)


def test_images_do_not_influence_each_other(model, image):
    search = jax.jit(lambda image: beam(model, image, num_beams=2))
    together = search(image)
    backwards = search(jax.tree.map(lambda x: x[::-1], image))
    np.testing.assert_array_equal(backwards.ids[::-1], together.ids)
    one = search(jax.tree.map(lambda x: x[2:3], image))
    np.testing.assert_array_equal(one.ids[0], together.ids[2])


def test_what_captions_begin_with_is_a_setting_that_is_kept(model, image):
    assert model.kwargs["begin_id"] == BEGIN and "begin_id" not in make().kwargs
    with pytest.raises(ValueError, match="tokenizer that has none; train one with tokenizer.begin"):
        make().start_caption(image, length=5)
