"""Relative positions: which number of the tables stands between which two tokens."""

import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.nn.attention import dot_product_attention
from vlp.nn.multiway import Multiway
from vlp.nn.relative import RelativePositions, toeplitz

AUTHORS = Path(__file__).parents[1] / "authors"
WIDTH, HEADS, GRID, LENGTH = 8, 2, 2, 6
close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)


def numbered():
    """The tables of 4 x 4 patches and 12 words, whose rows have their numbers in the authors'."""
    positions = RelativePositions(1, grid=4, text_length=12)
    first = 0
    for name in ("image", "pair", "text"):
        table = getattr(positions, name)
        rows = np.arange(first, first + len(table), dtype=np.float32)
        table[...], first = jnp.asarray(rows[:, None]), first + len(rows)
    assert first == 78
    return positions


@pytest.mark.parametrize(
    ("kinds", "index"),
    [
        ((("image", 17),), "index/image"),
        ((("text", 9),), "index/text"),
        ((("text", 9), ("image", 17)), "index/text_image"),
    ],
)
def test_the_row_between_two_tokens_is_the_authors(kinds, index):
    with np.load(AUTHORS / "vlmo_relative.npz", allow_pickle=False) as numbers:
        np.testing.assert_array_equal(numbered()(kinds)[0], numbers[index])


@pytest.mark.parametrize("length", [1, 2, 5, 12])
def test_a_short_text_has_the_distances_of_a_long_one_s_first_tokens(length):
    whole = numbered()((("text", 12),))
    np.testing.assert_array_equal(numbered()((("text", length),)), whole[:, :length, :length])


def test_toeplitz_s_values_and_gradient_are_those_of_a_look_up():
    values = np.random.default_rng(0).normal(size=(2, 9)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(2, 5, 5)).astype(np.float32)
    index = 4 + np.arange(5)[None] - np.arange(5)[:, None]
    got, back = jax.vjp(jax.jit(toeplitz), jnp.asarray(values))
    np.testing.assert_array_equal(got, values[:, index])
    want = np.zeros_like(values)
    np.add.at(want, (slice(None), index), weights)
    close(back(jnp.asarray(weights))[0], want)


@pytest.mark.parametrize("grid", [1, 3])
def test_every_row_of_a_table_is_between_some_two_tokens_of_a_pair(grid):
    graphdef, state = nnx.split(RelativePositions(1, grid=grid, text_length=4))
    kinds = (("text", 4), ("image", grid**2 + 1))
    total = jax.grad(lambda state: jnp.sum(nnx.merge(graphdef, state)(kinds)))
    times = nnx.to_pure_dict(jax.jit(total)(state))  # that a row is read
    assert all((rows > 0).all() for rows in times.values())
    assert sum(int(rows.sum()) for rows in times.values()) == (4 + grid**2 + 1) ** 2


def attention(query, key, value, bias, mask):
    out = np.zeros(query.shape)
    for n, h, q in np.ndindex(len(query), HEADS, query.shape[1]):
        logits = key[n, :, h] @ query[n, q, h] / math.sqrt(query.shape[-1]) + bias[h, q]
        weights = np.where(mask[n], np.exp(logits), 0)
        out[n, q, h] = weights @ value[n, :, h] / weights.sum()
    return out


@pytest.mark.parametrize("implementation", ["einsum", "xla"])
def test_attention_adds_the_bias_to_the_logits_before_it_masks(implementation):
    rng = np.random.default_rng(0)
    given = rng.normal(size=(3, 2, 5, HEADS, 4)).astype(np.float32)
    bias = rng.normal(size=(HEADS, 5, 5)).astype(np.float32)
    present = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    got = dot_product_attention(
        *jnp.asarray(given), mask=jnp.asarray(present)[:, None, None], bias=jnp.asarray(bias),
        implementation=implementation,
    )  # fmt: skip
    close(got, attention(*given.astype(np.float64), bias, present))
    with jax.numpy_dtype_promotion("standard"):  # that of jax.nn needs it
        near = dot_product_attention(
            *jnp.asarray(given, jnp.bfloat16), mask=jnp.asarray(present)[:, None, None],
            bias=jnp.asarray(bias), implementation=implementation,
        )  # fmt: skip
    assert near.dtype == jnp.bfloat16
    np.testing.assert_allclose(near.astype(jnp.float32), got, atol=0.05)


@functools.cache
def make(**settings):
    sizes = dict(num_heads=HEADS, fused_from=2, mlp_ratio=2.0, layer_scale=0.3)
    relative = dict(grid=GRID, text_length=LENGTH)
    return filled(
        lambda: Multiway(WIDTH, 3, **(sizes | settings), relative=relative, rngs=nnx.Rngs(0))
    )


@functools.cache
def inputs():
    rng = np.random.default_rng(0)
    text, image = (jnp.asarray(rng.normal(size=(2, n, WIDTH)), jnp.float32) for n in (4, 5))
    return text, image, jnp.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)


@functools.partial(jax.jit, static_argnames="graphdef")
def _ways(graphdef, state, text, image, present):
    module = nnx.merge(graphdef, state)
    below = {
        "text": module.below(text, expert="text", mask=present),
        "image": module.below(image, expert="image"),
    }
    return {
        "pair": module.together(text, image, mask=present),
        "text": module.above(below["text"], expert="pair", modality="text", mask=present),
        "image": module.above(below["image"], expert="pair", modality="image"),
        "states": module.hidden_states(image, expert="image"),
        "last": module.upper(below["image"], route=(("image", 5),), kinds=(("image", 5),)),
    }


def ways(row=None, value=-1e9):
    """All ways through the model, a row of every block's `pair` set to a value."""
    graphdef, state = nnx.split(make())

    def change(path, leaf):
        here = row is not None and "pair" in path and "relative" in path
        return leaf.at[:, row].set(value) if here else leaf

    changed = nnx.map_state(change, state)
    return _ways(graphdef, changed, *inputs())


def test_words_that_see_no_patch_are_read_in_a_pair_as_they_are_alone():
    seen = np.asarray(inputs()[2])
    blind, usual = ways(row=0), ways()
    close(blind["pair"][0][seen], blind["text"][seen])
    assert np.abs(usual["pair"][0] - usual["text"])[seen].max() > 1e-2


def test_patches_that_see_no_word_are_read_in_a_pair_as_they_are_alone():
    blind, usual = ways(row=1), ways()
    close(blind["pair"][1], blind["image"])
    assert np.abs(usual["pair"][1] - usual["image"]).max() > 1e-2


def test_hidden_states_have_the_bias_too():
    found = ways()
    close(found["states"][-1], found["last"])


def test_recomputing_unrolling_and_xla_change_no_gradient_of_a_table():
    text, image, present = inputs()

    def gradient(module):
        graphdef, state = nnx.split(module)

        def total(state):
            both = nnx.merge(graphdef, state).together(text, image, mask=present)
            return sum(jnp.sum(x**3) for x in both)

        return nnx.to_pure_dict(jax.jit(jax.grad(total))(state))

    got, want = gradient(make(remat="full", unroll=2, attention="xla")), gradient(make())
    for stack in ("lower", "upper"):
        for name, rows in want[stack]["blocks"]["relative"].items():
            assert np.abs(rows).max() > 1e-4
            np.testing.assert_allclose(
                got[stack]["blocks"]["relative"][name], rows, rtol=1e-5, atol=1e-5
            )


def test_what_does_not_fit_is_refused():
    positions = numbered()
    with pytest.raises(ValueError, match="4 x 4 patches and a class token, got 10 tokens; resize"):
        positions((("image", 10),))
    with pytest.raises(ValueError, match="at most 12 tokens, got 13; truncate it or"):
        positions((("text", 13),))
    with pytest.raises(ValueError, match="texts of at least 2 tokens, got 1; build the model"):
        RelativePositions(1, grid=4, text_length=1)
