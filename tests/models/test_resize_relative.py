"""VLMo's tables of relative positions for other images and texts than they were trained with."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util

from tests.filled import filled
from vlp.interop.loaded import model_of, params_of
from vlp.models import Vlmo
from vlp.models.resize import resize_positions
from vlp.nn.relative import RelativePositions

NUMBERS = Path(__file__).parents[1] / "authors" / "vlmo_window.npz"
KWARGS = dict(
    image=dict(kind="patches", image_size=16, patch_size=4, width=6),
    text=dict(kind="words", vocab_size=20, length=6, width=6),
    multiway=dict(depth=3, num_heads=3, fused_from=2, mlp_ratio=1.0),
    positions="relative",
    embed_dim=6,
)
TEXT = np.random.default_rng(0).integers(1, 20, (4, 6)).astype(np.int32)


@functools.cache
def params():
    return params_of(filled(lambda: Vlmo(**KWARGS, rngs=nnx.Rngs(0))))


def resized(given=None, **sizes):
    """Settings and parameters, by name, for other sizes."""
    nested = traverse_util.unflatten_dict(dict(given or params()), sep="/")
    kwargs, nested = resize_positions(KWARGS, nested, **sizes)
    return kwargs, traverse_util.flatten_dict(nested, sep="/")


@functools.partial(jax.jit, static_argnames=("length", "count"))
def _bias(table, *, length, count):
    positions = RelativePositions(3, grid=1, text_length=length)
    positions.text[...] = table
    return positions((("text", count),))


def text_bias(found, *, length, count):
    """What the last block adds to the logits of a text of so many tokens."""
    table = found["multiway/upper/blocks/relative/text"][0]
    return np.asarray(_bias(table, length=length, count=count))


@pytest.mark.parametrize("grid", [3, 5, 6, 9])
def test_images_of_another_size_get_the_authors_tables(grid):
    with np.load(NUMBERS, allow_pickle=False) as numbers:
        given = params() | {
            f"multiway/{stack}/blocks/relative/image": np.stack([numbers["table"]] * count)
            for stack, count in (("lower", 2), ("upper", 1))
        }
        kwargs, found = resized(given, image_size=4 * grid)
        assert kwargs["image"]["image_size"] == 4 * grid
        for stack in ("lower", "upper"):
            for table in found[f"multiway/{stack}/blocks/relative/image"]:
                np.testing.assert_allclose(table, numbers[f"table_{grid}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("image_size", "length"), [(4, 2), (28, 9)])
def test_what_was_resized_is_a_model_of_that_size(image_size, length):
    kwargs, found = resized(image_size=image_size, text_length=length)
    model = model_of(kwargs, found)
    text = jnp.asarray(np.resize(TEXT, (1, length)))

    def logits():  # reads every table
        image = model.encode_image(jnp.zeros((1, image_size, image_size, 3), jnp.uint8))
        return model.match(image, model.encode_text(text), text)

    assert jax.eval_shape(logits).shape == (1, 2)


@pytest.mark.parametrize("length", [4, 9])
def test_short_texts_have_the_numbers_they_had_when_the_model_is_cut_or_made_longer(length):
    found = resized(text_length=length)[1]
    np.testing.assert_array_equal(
        text_bias(found, length=length, count=4), text_bias(params(), length=6, count=4)
    )


def test_a_longer_text_adds_distances_that_count_as_the_farthest_there_was():
    bias = text_bias(resized(text_length=8)[1], length=8, count=8)
    for q, k in np.ndindex(7, 7):
        near = bias[:, 1, 1 + min(k - q, 4)] if k > q else bias[:, 1 + min(q - k, 4), 1]
        np.testing.assert_array_equal(bias[:, 1 + q, 1 + k], near)


def test_nothing_but_the_tables_changes_and_the_given_ones_stay():
    before = {name: array.copy() for name, array in params().items()}
    _, found = resized(image_size=24, text_length=3)
    changed = {name for name in found if found[name] is not params()[name]}
    assert changed == {
        f"multiway/{stack}/blocks/relative/{table}"
        for stack in ("lower", "upper")
        for table in ("image", "text")
    }
    for name, array in before.items():
        np.testing.assert_array_equal(params()[name], array)


def test_an_image_size_that_patches_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="image_size must divide by 4, got 23; try 20 or 24"):
        resized(image_size=23)
