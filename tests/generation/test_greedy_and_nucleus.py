"""One token at a time: the likeliest, or drawn from the nucleus."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.table_model import BEGIN, END, PAD, TableModel, caption_of, images, log_probs, run
from vlp.generation import greedy, nucleus
from vlp.generation.nucleus import nucleus_logits


def keys(n, seed=0):
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(n))


def by_hand(model, image, *, length, min_length=0, prefix=()):
    """The likeliest token again and again, with numpy."""
    caption = [BEGIN, *prefix]
    before = caption[-2] if prefix else 0
    while len(caption) < length and caption[-1] != END:
        logits = np.array(model.table[len(caption) - 1, before, caption[-1]]) + np.asarray(image)
        logits[PAD] = -np.inf
        if len(caption) < min_length:
            logits[END] = -np.inf
        before = caption[-1]
        caption.append(int(np.argmax(logits)))
    return tuple(caption)


@pytest.mark.parametrize("min_length", [0, 4])
@pytest.mark.parametrize("length", [3, 6])
def test_greedy_takes_the_likeliest_token_at_every_place(length, min_length):
    model, image = TableModel(sharpness=0.7), images(20)
    min_length = min(min_length, length - 1)
    found = run(greedy, model, image, length=length, min_length=min_length)
    assert found.ids.shape == (20, length)
    lengths = set()
    for row, score, one in zip(found.ids, found.scores, image, strict=True):
        said = caption_of(row)
        assert said == by_hand(model, one, length=length, min_length=min_length)
        assert (np.asarray(row)[len(said) :] == PAD).all()
        np.testing.assert_allclose(score, np.mean(log_probs(model, one, said)), rtol=1e-5)
        lengths.add(len(said))
    assert length == 3 or len(lengths) > 1  # some ended early


@pytest.mark.parametrize("prefix", [(4,), (3, 5, 3), (5, 5, 5, 4)])
def test_captions_go_on_from_a_prefix_which_does_not_count(prefix):
    model, image = TableModel(sharpness=0.7), images(20)
    likeliest = run(greedy, model, image, prefix=prefix)
    drawn = run(nucleus, model, image, keys=keys(20), top_k=1, prefix=prefix)
    np.testing.assert_array_equal(drawn.ids, likeliest.ids)
    for found in (likeliest, drawn):
        for row, score, one in zip(found.ids, found.scores, image, strict=True):
            said = caption_of(row)
            assert said == by_hand(model, one, length=6, prefix=prefix)
            behind = log_probs(model, one, said)[len(prefix) :]
            np.testing.assert_allclose(score, np.mean(behind), rtol=1e-5)


def test_it_stops_where_all_captions_have_ended():
    steps = []

    class Counting(TableModel):
        def next_token(self, cache, ids, position):
            jax.debug.callback(lambda position: steps.append(int(position)), position)
            logits, cache = super().next_token(cache, ids, position)
            return logits.at[:, END].add(jnp.where(position == 2, 99.0, -99.0)), cache

    found = run(greedy, Counting(), images(4))
    jax.effects_barrier()
    assert sorted(steps) == [0, 1, 2]
    assert (np.asarray(found.ids)[:, 3] == END).all() and (
        np.asarray(found.ids)[:, 4:] == PAD
    ).all()


def test_one_shape_is_compiled_once():
    traced = []

    def write(image):
        traced.append(image.shape)
        return greedy(TableModel(), image)

    compiled = jax.jit(write)
    for seed in range(3):
        compiled(images(seed=seed))
    assert traced == [(5, 6)]


@pytest.mark.parametrize(
    ("top_p", "top_k", "temperature", "kept"),
    [(1.0, None, 1.0, 11), (0.8, None, 1.0, 7), (0.9, 4, 1.7, 4), (1.0, 3, 0.5, 3)],
)
def test_tokens_are_drawn_as_often_as_the_truncated_softmax_says(top_p, top_k, temperature, kept):
    draws, v = 4000, 12
    model = TableModel(vocab_size=v, caption_length=2, sharpness=1.0)
    image = jnp.tile(images(1, v), (draws, 1))
    settings = dict(top_p=top_p, top_k=top_k, temperature=temperature)
    found = run(nucleus, model, image, keys=keys(draws), **settings)
    counts = np.bincount(np.asarray(found.ids)[:, 1], minlength=v)

    logits = np.float64(model.table[0, 0, BEGIN] + image[0]) / temperature
    logits[PAD] = -np.inf
    share = np.exp(logits - logits.max())
    order = np.argsort(-share)
    share[order[v if top_k is None else top_k :]] = 0
    share /= share.sum()
    total = 0.0
    for token in order:  # the likeliest first, until enough
        share[token], total = (share[token] if total < top_p else 0.0), total + share[token]
    share /= share.sum()
    inside = share > 0
    assert counts[~inside].sum() == 0
    assert inside.sum() == kept
    assert stats.chisquare(counts[inside], draws * share[inside]).pvalue > 0.01


def test_a_tiny_nucleus_is_greedy():
    model, image = TableModel(), images(9)
    drawn = run(nucleus, model, image, keys=keys(9), top_p=1e-9)
    likeliest = run(greedy, model, image)
    np.testing.assert_array_equal(drawn.ids, likeliest.ids)
    np.testing.assert_allclose(drawn.scores, likeliest.scores, rtol=1e-6)
    drawn = run(nucleus, model, image, keys=keys(9), top_k=1)
    np.testing.assert_array_equal(drawn.ids, likeliest.ids)


def test_a_caption_drawn_with_its_key_is_the_same_in_any_batch():
    model, image, own = TableModel(), images(8), keys(8)
    draw = jax.jit(lambda image, keys: nucleus(model, image, keys=keys, top_p=0.95))
    together = draw(image, own)
    backwards = draw(image[::-1], own[::-1])
    np.testing.assert_array_equal(backwards.ids[::-1], together.ids)
    np.testing.assert_array_equal(draw(image[2:5], own[2:5]).ids, together.ids[2:5])
    assert not np.array_equal(draw(image, keys(8, seed=1)).ids, together.ids)
    same = draw(jnp.tile(image[:1], (8, 1)), own)
    assert len({caption_of(row) for row in same.ids}) > 3  # keys differ, so do captions


def test_scores_of_drawn_captions_are_the_model_s_own():
    model, image = TableModel(), images(9)
    found = run(nucleus, model, image, keys=keys(9), top_p=0.7, temperature=2.0, min_length=2)
    for row, score, one in zip(found.ids, found.scores, image, strict=True):
        np.testing.assert_allclose(
            score, np.mean(log_probs(model, one, caption_of(row))), rtol=1e-5
        )


def test_equal_logits_keep_as_many_as_needed():
    kept, ids = nucleus_logits(jnp.zeros((1, 10)), top_p=0.35, top_k=None)
    assert np.isfinite(kept[0]).sum() == 4 and len(set(np.asarray(ids[0]).tolist())) == 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(top_p=0.0), "top_p must be above 0 and at most 1, got 0.0"),
        (dict(top_p=1.1), "top_p must be above 0 and at most 1, got 1.1"),
        (dict(top_p=float("nan")), "top_p must be above 0 and at most 1, got nan"),
        (dict(top_k=0), "top_k must be at least 1, or None for all tokens, got 0"),
        (
            dict(temperature=0.0),
            "temperature must be a finite number above 0, got 0.0.* use greedy",
        ),
        (dict(temperature=float("inf")), "temperature must be a finite number above 0, got inf"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        nucleus(TableModel(), images(), keys=keys(5), **settings)
