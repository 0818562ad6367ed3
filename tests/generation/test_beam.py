"""Beam search finds the best caption where it looks at all of them, and is greedy with one beam."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.table_model import (
    BEGIN,
    END,
    PAD,
    TableModel,
    caption_of,
    every_caption,
    images,
    log_probs,
    run,
)
from vlp.generation import beam, greedy


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_as_many_beams_as_captions_it_finds_the_likeliest_of_all(seed):
    model, image = TableModel(vocab_size=5, caption_length=5, seed=seed), images(3, 5, seed=seed)
    found = run(beam, model, image, num_beams=27, length_penalty=0.0)
    for row, score, one in zip(found.ids, found.scores, image, strict=True):
        totals = {c: sum(log_probs(model, one, c)) for c in every_caption(5, 5)}
        best = max(totals, key=totals.get)
        assert caption_of(row) == best
        np.testing.assert_allclose(score, totals[best], rtol=1e-5)


def test_a_beam_finds_what_greedy_search_misses():
    model, image = TableModel(seed=4), images(40)
    one = run(beam, model, image, num_beams=1, length_penalty=0.0).scores
    four = run(beam, model, image, num_beams=4, length_penalty=0.0).scores
    assert np.all(four >= one - 1e-5) and np.sum(four > one + 1e-3) > 5


@pytest.mark.parametrize("prefix", [(3,), (4, 2)])
def test_with_as_many_beams_as_captions_it_finds_the_likeliest_behind_a_prefix(prefix):
    model, image = TableModel(vocab_size=5, caption_length=5), images(3, 5)
    found = run(beam, model, image, num_beams=27, length_penalty=1.0, prefix=prefix)
    given = (BEGIN, *prefix)
    for row, score, one in zip(found.ids, found.scores, image, strict=True):
        scores = {
            c: np.mean(log_probs(model, one, c)[len(prefix) :])
            for c in every_caption(5, 5)
            if c[: len(given)] == given and len(c) > len(given)
        }
        best = max(scores, key=scores.get)
        assert caption_of(row) == best
        np.testing.assert_allclose(score, scores[best], rtol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{}, dict(min_length=4), dict(length=3), dict(min_length=3), dict(prefix=(3, 4))],
)
def test_one_beam_is_greedy(settings):
    model, image = TableModel(sharpness=0.7), images(20)
    one, likeliest = (
        run(beam, model, image, num_beams=1, **settings),
        run(greedy, model, image, **settings),
    )
    np.testing.assert_array_equal(one.ids, likeliest.ids)
    np.testing.assert_allclose(one.scores, likeliest.scores, rtol=1e-5)


@pytest.mark.parametrize("penalty", [-1.0, 0.0, 0.5, 2.0])
def test_scores_are_those_of_the_captions(penalty):
    model, image = TableModel(seed=3), images(6)
    found = run(beam, model, image, num_beams=3, length_penalty=penalty, min_length=3)
    for row, score, one in zip(found.ids, found.scores, image, strict=True):
        each = log_probs(model, one, caption_of(row))
        np.testing.assert_allclose(score, sum(each) / len(each) ** penalty, rtol=1e-5)


def test_long_captions_are_favoured_by_a_penalty_above_zero():
    model, image = TableModel(seed=5, sharpness=0.8), images(30).at[:, END].add(-2.0)

    def words(penalty):
        found = run(beam, model, image, num_beams=4, length_penalty=penalty)
        return np.mean([len(caption_of(row)) for row in found.ids])

    assert words(-2.0) < words(0.0) < words(3.0)


def test_images_do_not_influence_each_other():
    model, image = TableModel(seed=6), images(7)
    search = jax.jit(lambda image: beam(model, image, num_beams=3))
    together = search(image)
    backwards = search(image[::-1])
    np.testing.assert_array_equal(backwards.ids[::-1], together.ids)
    np.testing.assert_array_equal(backwards.scores[::-1], together.scores)
    for i in range(7):
        alone = search(image[i : i + 1])
        np.testing.assert_array_equal(alone.ids[0], together.ids[i])
        np.testing.assert_allclose(alone.scores[0], together.scores[i], rtol=1e-6)


def test_rows_are_whole_captions():
    found = np.asarray(run(beam, TableModel(), images(30), min_length=3).ids)
    assert (found[:, 0] == BEGIN).all()
    for row in found:
        said = caption_of(row)
        assert PAD not in said and said.count(END) <= 1 and len(said) >= 4
        assert (row[len(said) :] == PAD).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(num_beams=0), "num_beams must be 1 to 1024, got 0"),
        (dict(num_beams=100_000), "num_beams must be 1 to 1024, got 100000"),
        (dict(length_penalty=float("nan")), "length_penalty must be a finite number, got nan"),
        (dict(length=7), "length must be from 2, .* to the model's 6, got 7"),
        (dict(length=1), "length must be from 2, .* to the model's 6, got 1"),
        (dict(length=4, min_length=4), "min_length must be from 0 to 3, .* got 4"),
        (dict(min_length=-1), "min_length must be from 0 to 5, .* got -1"),
        (dict(prefix=(3,) * 5), "leave room for a token behind it, 4 tokens at most .* got 5"),
        (dict(prefix=(3, END)), "neither the end token 1 nor padding 0, got .3, 1."),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        beam(TableModel(), images(), **settings)


def test_a_model_without_a_decoder_is_refused():
    with pytest.raises(ValueError, match="only a model with a decoder writes captions"):
        beam(object(), jnp.zeros((2, 3)))
