"""What is no input of a model is refused in one line, where it would be embedded like any other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.interop.tiny import LENGTH, SIZE, VOCABULARY, make_run
from vlp.interop.given import captions, check_source, checked_images, checked_text


@pytest.fixture(scope="module")
def run():
    return make_run("clip")


PICTURE = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
IDS = np.arange(2 * LENGTH, dtype=np.int32).reshape(2, LENGTH)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (PICTURE / np.float32(255), "float32 from 0 to 1; give those bytes"),
        (PICTURE / np.float32(127.5) - 1, "float32 from -1 to 1"),
        (PICTURE > 99, "bool from 0 to 1"),
        (np.full_like(PICTURE, np.nan, np.float32), "float32 from nan to nan"),
        (PICTURE.astype(np.int32) * 2, "int32 from 0 to 510"),
        (PICTURE[:0], r"at least one, \[n, h, w, 3\], got \[0, 24, 24, 3\]"),
        (PICTURE.transpose(0, 3, 1, 2), r"got \[2, 3, 24, 24\]"),
        (np.zeros((1, SIZE, SIZE, 4), np.uint8), r"got \[1, 24, 24, 4\]"),
        ("cat.png", r"got str; call preprocess\(...\) on pictures first"),
        (Image.new("RGB", (3, 3)), r"got Image; call preprocess"),
        (PICTURE.tolist(), "got list"),
        (None, "got NoneType"),
    ],
)
def test_pixels_that_preprocess_does_not_make_are_refused(run, images, said):
    for encode in (run.model.encode_image, run.model.image_hidden_states):
        with pytest.raises(ValueError, match=said):
            encode(images)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (IDS + VOCABULARY, "from 0 to 419, .* got ids from 420 to 443"),
        (IDS - 5, "got ids from -5 to 18"),
        (IDS[:0], r"got int32\[0, 12\]"),
        (IDS[0], r"got int32\[12\]"),
        (IDS.astype(np.float32), r"got float32\[2, 12\]"),
        ("a cat", r"got str; call tokenize\(...\) on texts first"),
        (["a cat"], "got list"),
    ],
)
def test_ids_that_a_model_does_not_have_are_refused(text, said):
    with pytest.raises(ValueError, match=said):
        checked_text(text, vocab_size=VOCABULARY)


def test_every_method_that_reads_ids_looks_at_them(run):
    for read in (run.model.encode_text, run.model.text_hidden_states):
        with pytest.raises(ValueError, match="got ids from 420 to 443"):
            read(IDS + VOCABULARY)


@pytest.mark.parametrize("images", [PICTURE, PICTURE.astype(np.float32), jnp.asarray(PICTURE)])
def test_the_same_pixels_are_taken_as_other_numbers_and_traced(images):
    assert checked_images(images) is images
    jax.eval_shape(checked_images, images / 1)


@pytest.mark.parametrize("texts", [[None], [5], None, 5, [b"a cat"], ["a cat", 1.5]])
def test_what_is_no_caption_is_refused(texts):
    with pytest.raises(ValueError, match="a caption or a list of them, each a str, got "):
        captions(texts)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(source=None), "a model must be given by a path .* got None"),
        (dict(source="x", image_size="32"), "image_size must be a whole number .* got '32'"),
        (dict(source="x", image_size=32.0), "image_size must be a whole number .* got 32.0"),
        (dict(source="x", text_length=0), "text_length must be a whole number of at least 1"),
    ],
)
def test_what_names_no_model_or_size_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        check_source(**arguments)


def test_arrays_that_a_traced_function_brings_along_are_looked_at_as_well():
    ids = jnp.asarray(IDS)
    checked = jax.eval_shape(lambda: checked_text(ids, vocab_size=VOCABULARY))
    assert checked.shape == IDS.shape
    with pytest.raises(ValueError, match="got ids from"):
        jax.eval_shape(lambda: checked_text(ids, vocab_size=2))
