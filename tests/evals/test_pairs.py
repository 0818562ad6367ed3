"""Functions of pairs: order, blocks, rejects, meshes, one compilation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fusion_model import Fusion, batches, captions

from vlp.evals import pairs as module
from vlp.evals.embed import Encoder
from vlp.evals.pairs import another, read_pairs
from vlp.parallel.mesh import make_mesh


def read(model, image, text):
    """Something of both, of several shapes."""
    caption = model.encode_text(text)
    both = image.tokens.sum(axis=1) * caption.pooled
    return {"both": both, "odds": model.match(image, caption, text)[:, 1]}


@pytest.fixture(scope="module")
def model():
    return Fusion()


@pytest.fixture(scope="module")
def data():
    """11 images, the fifth of which cannot be read, and 40 pairs of the ten in any order."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (11, 4, 4, 3), np.uint8)
    return images, rng.integers(0, 10, 40), captions(rng, 40)


def expected(model, data):
    images, rows, text = data
    readable = np.delete(images, 4, axis=0)
    return read(model, model.encode_image(jnp.asarray(readable[rows])), jnp.asarray(text))


@pytest.mark.parametrize("mesh", [None, 8])
@pytest.mark.parametrize(("block", "at_once"), [(4, 3), (11, 128)])
def test_every_pair_is_read_whatever_the_blocks_and_devices(model, data, mesh, block, at_once):
    images, rows, text = data
    encoder = Encoder.from_model(model, mesh=mesh and make_mesh(fsdp=2))
    made = batches(images, block, bad=(4,))
    got = read_pairs(encoder, made, function=read, images=rows, texts=(text,), at_once=at_once)
    for name, value in expected(model, data).items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5)


def test_images_are_encoded_once_and_only_where_something_is_asked(model, data, monkeypatch):
    images, _, text = data
    encoded = []
    monkeypatch.setattr(
        module, "_encode", lambda *args, real=module._encode: encoded.append(1) or real(*args)
    )
    rows = np.array([9, 0, 9, 1, 0])  # of the first block and the third
    made = batches(images, 4, bad=(4,))
    texts = (text[:5],)
    read_pairs(Encoder.from_model(model), made, function=read, images=rows, texts=texts, at_once=2)
    assert len(encoded) == 2


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A function with a setting."""

    by: float

    def __call__(self, model, image):
        return image.pooled * self.by


def test_equal_functions_and_new_weights_are_compiled_once(model, data):
    images = data[0]
    rows = np.arange(11)
    one = read_pairs(
        Encoder.from_model(model), batches(images, 4), function=Scaled(2.0), images=rows, at_once=4
    )
    compiled = module._read._cache_size()
    other = Encoder.from_model(Fusion(seed=1))
    two = read_pairs(other, batches(images, 4), function=Scaled(2.0), images=rows, at_once=4)
    assert module._read._cache_size() == compiled
    assert one.shape == two.shape == (11, 5) and not np.allclose(one, two)


def test_pairs_of_images_that_are_not_there_are_refused(model, data):
    images, _, text = data
    encoder = Encoder.from_model(model)
    with pytest.raises(ValueError, match="pairs must be of the 10 images .* got image 10"):
        rows = np.array([0, 10])
        made = batches(images, 4, bad=(4,))
        read_pairs(encoder, made, function=read, images=rows, texts=(text[:2],))
    with pytest.raises(ValueError, match="at least one pair"):
        read_pairs(encoder, batches(images, 4), function=read, images=np.zeros(0, int))


def test_another_one_is_never_the_same_and_every_one_is_used_once():
    for n in (2, 3, 50):
        found = another(n)
        assert (found != np.arange(n)).all() and sorted(found) == list(range(n))
        np.testing.assert_array_equal(found, another(n))
    with pytest.raises(ValueError, match="two images at least, got 1"):
        another(1)


def test_tokens_of_one_block_only_are_alive(model, data):
    images, _, text = data
    alive = []

    class Counting(Encoder):
        @property
        def out(self):
            blocks = [x for x in jax.live_arrays() if x.shape == (2, 2, 5)]  # tokens of two images
            alive.append(len(blocks))
            return None

    encoder = Counting.from_model(model)
    rows = np.arange(11)
    read_pairs(encoder, batches(images, 2), function=read, images=rows, texts=(text[:11],))
    assert max(alive) <= 2  # this block's, and the one that is about to be let go
