"""Masked words: which are hidden, and how answers with and without the image are scored."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fusion_model import END, MASK, PAD, VOCABULARY, Fusion, captions

from vlp.evals.masked_words import guess, hide_words, masked_words


@pytest.fixture(scope="module")
def text():
    return captions(np.random.default_rng(0), 50)


def hide(text, samples=None):
    samples = np.arange(len(text)) if samples is None else samples
    return hide_words(text, samples=samples, mask_id=MASK, pad_id=PAD)


def test_one_word_at_least_is_hidden_and_never_the_first_the_end_or_padding(text):
    shown, hidden = hide(text)
    assert (hidden.sum(axis=1) == 1).all()  # of one to four words
    assert (shown[hidden] == MASK).all() and (shown[~hidden] == text[~hidden]).all()
    assert (
        not hidden[:, 0].any() and not hidden[text == END].any() and not hidden[text == PAD].any()
    )
    assert shown.dtype == np.int32


def test_of_many_words_fifteen_percent_are_hidden():
    long = np.full((20, 42), 9, np.int32)
    long[:, -1] = END
    assert (hide(long)[1].sum(axis=1) == 6).all()


def test_masks_follow_from_the_sample_alone(text):
    samples = np.arange(50) * 7
    hidden = hide(text, samples)[1]
    order = np.random.default_rng(1).permutation(50)
    np.testing.assert_array_equal(hide(text[order], samples[order])[1], hidden[order])
    assert (hide(text, samples + 1)[1] != hidden).any()


def test_captions_without_words_hide_nothing():
    empty = np.array([[2, END, PAD], [2, PAD, PAD], [PAD, PAD, PAD]], np.int32)
    assert not hide(empty)[1].any()


def test_guesses_equal_a_loop(text):
    model, rng = Fusion(), np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (50, 4, 4, 3), np.uint8))
    image = model.encode_image(images)
    shown, hidden = hide(text)
    said = guess(model, image, jnp.asarray(shown), jnp.asarray(text))
    logits = np.asarray(model.predict_tokens(image, jnp.asarray(shown)), np.float64)
    for row, place in zip(*np.nonzero(hidden), strict=True):
        scores, wanted = logits[row, place], text[row, place]
        assert said["rank"][row, place] == (np.delete(scores, wanted) >= scores[wanted]).sum()
        nats = np.log(np.exp(scores).sum()) - scores[wanted]
        assert said["nats"][row, place] == pytest.approx(nats, abs=1e-5)


def test_scores_of_hidden_words_only_count(text):
    hidden = hide(text)[1]
    far, near = np.full(text.shape, 9), np.full(text.shape, 9)
    near[hidden] = np.arange(50) % 10
    nats = np.where(hidden, 2.0, 100.0)
    result = masked_words(
        {"rank": near, "nats": nats}, {"rank": far, "nats": nats + 1},
        hidden=hidden, vocab_size=VOCABULARY,
    )  # fmt: skip
    assert result["metrics"] == pytest.approx(
        {
            "own_image/top1": 0.1, "own_image/top5": 0.5, "own_image/nats": 2.0,
            "other_image/top1": 0.0, "other_image/top5": 0.0, "other_image/nats": 3.0,
        }
    )  # fmt: skip
    assert result["chance"]["own_image/nats"] == pytest.approx(math.log(30))
    assert result["chance"]["own_image/top5"] == pytest.approx(5 / 30)
    assert result["counts"] == {"own_image/queries": 50, "other_image/queries": 50}


def test_a_model_that_finds_all_words_alike_is_no_better_than_chance(text):
    class Flat:
        def predict_tokens(self, image, text):
            return jnp.zeros((*text.shape, VOCABULARY))

    said = guess(Flat(), None, jnp.asarray(text), jnp.asarray(text))
    said = jax.tree.map(np.asarray, said)
    result = masked_words(said, said, hidden=hide(text)[1], vocab_size=VOCABULARY)
    assert result["metrics"]["own_image/top5"] == 0
    assert result["metrics"]["own_image/nats"] == pytest.approx(result["chance"]["own_image/nats"])


def test_no_word_at_all_is_refused(text):
    said = {"rank": text, "nats": text}
    with pytest.raises(ValueError, match="captions with a word"):
        masked_words(said, said, hidden=np.zeros(text.shape, bool), vocab_size=30)
