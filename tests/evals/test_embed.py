"""Embedding whole data sets: order, padding, rejects, meshes, one compilation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vlp.evals import encoding
from vlp.evals.embed import Encoder, match
from vlp.models.naflex import NaflexImages
from vlp.parallel.mesh import make_mesh


class Encoded(NamedTuple):
    embedding: jax.Array


class Tiny(nnx.Module):
    """The mean colour and the first tokens, each through a matrix."""

    def __init__(self, rngs):
        self.image = nnx.Linear(3, 4, rngs=rngs)
        self.text = nnx.Linear(2, 4, rngs=rngs)

    def encode_image(self, images):
        return Encoded(unit(self.image(images.astype(jnp.float32).mean(axis=(1, 2)) / 255)))

    def encode_text(self, text):
        return Encoded(unit(self.text(text[:, :2].astype(jnp.float32))))


def unit(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def tokenize(texts):
    return np.array([[len(text), ord(text[0]), 0] for text in texts], np.int32)


@pytest.fixture(scope="module")
def model():
    return Tiny(nnx.Rngs(0))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (11, 5, 5, 3), dtype=np.uint8)


def batches(images, size):
    """As the host makes them: fixed size, the last filled up with weight 0 and id -1."""
    for start in range(0, len(images), size):
        part = images[start : start + size]
        fill = size - len(part)
        yield {
            "image": np.concatenate([part, np.zeros((fill, *part.shape[1:]), np.uint8)]),
            "weight": np.array([1.0] * len(part) + [0.0] * fill, np.float32),
            "id": np.array([*range(start, start + len(part)), *[-1] * fill], np.int64),
            "reject": np.zeros(size, np.uint8),
        }


@pytest.mark.parametrize("size", [1, 4, 11, 16])
def test_images_come_back_in_order_without_padding(model, images, size):
    expected = np.asarray(model.encode_image(jnp.asarray(images)).embedding)
    got = Encoder.from_model(model).embed_images(batches(images, size))
    np.testing.assert_allclose(got.vectors, expected, atol=1e-6)
    assert got.vectors.dtype == np.float32
    assert got.ids.tolist() == list(range(11)) and got.rejected == 0 and len(got) == 11


def test_batches_of_images_alone_are_enough_and_the_last_may_be_short(model, images):
    expected = np.asarray(model.encode_image(jnp.asarray(images)).embedding)
    parts = ({"image": images[i : i + 4]} for i in range(0, 11, 4))
    got = Encoder.from_model(model).embed_images(parts)
    np.testing.assert_allclose(got.vectors, expected, atol=1e-6)
    assert got.ids.tolist() == list(range(11))


def test_rejected_images_have_no_row_and_are_counted(model, images):
    made = list(batches(images, 4))
    made[1]["weight"][2] = 0
    made[1]["reject"][2] = 3
    got = Encoder.from_model(model).embed_images(made)
    assert got.ids.tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10]
    assert got.rejected == 1


def test_texts_come_back_in_order(model):
    texts = [chr(97 + i) * (i + 1) for i in range(10)]
    expected = np.asarray(model.encode_text(jnp.asarray(tokenize(texts))).embedding)
    got = Encoder.from_model(model).embed_texts(texts, tokenize, batch_size=4)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("size", [3, 8])
def test_a_mesh_of_eight_devices_gives_the_same(model, images, size):
    alone, spread = Encoder.from_model(model), Encoder.from_model(model, mesh=make_mesh(fsdp=2))
    one, eight = (e.embed_images(batches(images, size)) for e in (alone, spread))
    np.testing.assert_allclose(eight.vectors, one.vectors, atol=1e-6)
    assert eight.ids.tolist() == one.ids.tolist()
    texts = list("abcdefghijk")
    np.testing.assert_allclose(
        spread.embed_texts(texts, tokenize, batch_size=size),
        alone.embed_texts(texts, tokenize),
        atol=1e-6,
    )


def test_new_weights_do_not_compile_again(model, images):
    graphdef, params = nnx.split(model)
    pure = nnx.to_pure_dict(params)
    first = Encoder(graphdef, pure).embed_images(batches(images, 4))
    compiled = encoding.encode._cache_size()
    doubled = jax.tree.map(lambda x: x * 2.0, pure)
    second = Encoder(graphdef, doubled).embed_images(batches(images, 4))
    assert encoding.encode._cache_size() == compiled
    np.testing.assert_allclose(second.vectors, first.vectors, atol=1e-6)  # unit norm either way


class Bag(Tiny):
    """The tokens that are not 0, whatever their order; keeps the shapes it was compiled for."""

    shapes: list[tuple[int, ...]] = []

    def encode_text(self, text):
        self.shapes.append(text.shape)
        ids = text.astype(jnp.float32)
        return Encoded(unit(self.text(jnp.stack([ids.sum(axis=1), (ids**2).sum(axis=1)], axis=1))))


def words(texts):
    """A token a letter, up to 40."""
    ids = np.zeros((len(texts), 40), np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = [ord(letter) - 96 for letter in text]
    return ids


def test_texts_are_encoded_without_their_padding_and_come_back_in_order():
    bag = Bag(nnx.Rngs(0))
    rng = np.random.default_rng(0)
    texts = ["abcdefghijklmnopqrstuvwxyz"[: rng.integers(1, 26)] for _ in range(30)]
    expected = np.asarray(bag.encode_text(jnp.asarray(words(texts))).embedding)
    Bag.shapes.clear()
    got = Encoder.from_model(bag, text=dict(kind="bow")).embed_texts(texts, words, batch_size=8)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    # Texts of like length together: most batches are far shorter than 40 tokens.
    assert Bag.shapes == [(8, 8), (8, 16), (8, 24), (8, 32)]


def test_texts_are_encoded_whole_where_nothing_is_known_of_the_tower():
    bag = Bag(nnx.Rngs(0))
    Bag.shapes.clear()
    Encoder.from_model(bag).embed_texts(["a", "bc"], words)
    assert Bag.shapes == [(2, 40)]


class Patchy(nnx.Module):
    """The mean of the patches that are there."""

    def encode_image(self, images):
        assert isinstance(images, NaflexImages)
        there = images.mask.astype(jnp.float32)[:, :, None]
        count = images.grid.prod(axis=1, keepdims=True).astype(jnp.float32)
        return Encoded(unit((images.patches.astype(jnp.float32) * there).sum(axis=1) / count))


@pytest.mark.parametrize("mesh", [False, True])
def test_images_of_any_shape_come_as_their_patches(mesh):
    rng = np.random.default_rng(0)
    grid = rng.integers(1, 4, (5, 2)).astype(np.int32)
    mask = np.arange(9)[None] < grid.prod(axis=1, keepdims=True)
    images = NaflexImages(rng.integers(1, 256, (5, 9, 3), dtype=np.uint8), mask, grid)
    expected = np.asarray(Patchy().encode_image(jax.tree.map(jnp.asarray, images)).embedding)
    cut = [tuple(field[i : i + 2] for field in images) for i in range(0, 5, 2)]
    encoder = Encoder.from_model(Patchy(), mesh=make_mesh() if mesh else None)
    with jax.debug_nans(True):  # rows that only fill a batch are images too
        got = encoder.embed_images({"image": image} for image in cut)
    np.testing.assert_allclose(got.vectors, expected, atol=1e-6)


def test_progress_counts_rows_up_to_the_last(model, images):
    seen = []
    Encoder.from_model(model).embed_images(batches(images, 4), progress=seen.append)
    assert seen == [4, 8, 12]


def test_nothing_to_embed_is_refused(model, images):
    encoder = Encoder.from_model(model)
    with pytest.raises(ValueError, match="got 0 rejected rows"):
        encoder.embed_images([])
    with pytest.raises(ValueError, match="at least one readable image, got "):
        encoder.embed_images([{"image": images[:4], "weight": np.zeros(4, np.float32)}])
    none = encoder.embed_images(
        [{"image": images[:4], "weight": np.zeros(4, np.float32)}], at_least_one=False
    )
    assert none.vectors.shape == (0, 4) and none.ids.shape == (0,)
    with pytest.raises(ValueError, match="at least one text"):
        encoder.embed_texts([], tokenize)
    with pytest.raises(ValueError, match="larger than the first, got 4 rows after 2"):
        encoder.embed_images([{"image": images[:2]}, {"image": images[:4]}])


def test_texts_of_rejected_images_are_left_out():
    texts, image_of_text = match(np.array([0, 2, 5]), np.array([0, 0, 1, 2, 5, 5, 7]))
    assert texts.tolist() == [0, 1, 3, 4, 5]
    assert image_of_text.tolist() == [0, 0, 1, 2, 2]


def test_rows_need_not_be_sorted_to_match():
    texts, image_of_text = match(np.array([5, 0, 2]), np.array([0, 2, 3, 5]))
    assert texts.tolist() == [0, 1, 3]
    assert image_of_text.tolist() == [1, 2, 0]
