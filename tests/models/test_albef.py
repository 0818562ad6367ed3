"""ALBEF's model: what fusion sees, and a beginning from a whole BERT."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models import Albef, Blip, DualEncoder

LENGTH, PAD = 6, 0
TOWER = dict(width=16, num_heads=2)
IMAGE = dict(image_size=8, patch_size=4, depth=1, **TOWER)
TEXT = dict(kind="bert", vocab_size=20, length=LENGTH, pooler=False, depth=1, **TOWER)
KWARGS = dict(image=IMAGE, text=TEXT, fusion=dict(depth=2, num_heads=2), embed_dim=8)


@functools.cache
def model():
    return filled(lambda: Albef(**KWARGS, rngs=nnx.Rngs(0)))


def inputs():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (2, 8, 8, 3), np.uint8))
    text = jnp.array([[2, 5, 6, 1, 0, 0], [2, 7, 8, 9, 10, 1]], jnp.int32)
    return images, text


def test_it_builds_itself_again_from_its_kwargs():
    kwargs = model().kwargs
    assert nnx.eval_shape(lambda: Albef(**kwargs, rngs=nnx.Rngs(0))).kwargs == kwargs


def test_matching_depends_on_the_image_and_the_text_and_not_on_padding():
    images, text = inputs()
    image = model().encode_image(images)

    def match(image, text):
        return np.asarray(model().match(image, model().encode_text(text), text))

    want = match(image, text)
    swapped = match(jax.tree.map(lambda x: x[::-1], image), text)
    assert np.abs(want - swapped).max() > 1e-3
    assert np.abs(want - match(image, text.at[:, 1].set(11))).max() > 1e-3
    short = match(jax.tree.map(lambda x: x[:1], image), text[:1, :4])
    np.testing.assert_allclose(short, want[:1], atol=1e-5)


def test_predicted_tokens_depend_on_the_image():
    images, text = inputs()
    image = model().encode_image(images)
    want = model().predict_tokens(image, text)
    assert want.shape == (2, LENGTH, 20) and want.dtype == jnp.float32
    other = model().predict_tokens(jax.tree.map(lambda x: x[::-1], image), text)
    assert np.abs(want - other).max() > 1e-3


def test_a_whole_bert_becomes_text_tower_and_fusion_encoder():
    kwargs = dict(image=None, text=TEXT | dict(depth=3), embed_dim=16, text_projection="none")
    bert = filled(lambda: DualEncoder(**kwargs, rngs=nnx.Rngs(0)))
    params = nnx.to_pure_dict(nnx.state(bert))
    given, cut = Albef.adopted(kwargs, params, wanted=KWARGS)
    assert given["text"]["depth"] == 1
    blocks = params["text"]["stack"]["blocks"]
    jax.tree.map(
        lambda whole, lower, upper: np.testing.assert_array_equal(
            whole, np.concatenate([lower, upper])
        ),
        blocks,
        cut["text"]["stack"]["blocks"],
        cut["fusion"]["blocks"],
    )
    known = nnx.to_pure_dict(nnx.state(model()))["fusion"]["blocks"]
    assert set(cut["fusion"]["blocks"]) == set(known) - {"cross", "norm_cross"}


def test_another_model_is_left_as_it_is():
    params = nnx.to_pure_dict(nnx.state(model()))
    kwargs, same = Albef.adopted(model().kwargs, params, wanted=KWARGS)
    assert kwargs == model().kwargs and same is params


def test_a_text_tower_other_than_bert_is_refused():
    text = dict(vocab_size=20, length=LENGTH, depth=1, **TOWER)
    with pytest.raises(ValueError, match='text tower of kind "bert", got TextTransformer'):
        Albef(**KWARGS | dict(text=text), rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    "image",
    [
        dict(kind="resnet", image_size=32, layers=(1, 1, 1, 1), output_dim=8, width=8, num_heads=2),
        dict(kind="naflex", num_patches=4, patch_size=4, depth=1, **TOWER),
        dict(kind="patches", image_size=8, patch_size=4, width=16),
    ],
)
def test_an_image_tower_whose_tokens_do_not_fit_is_refused(image):
    settings = dict(image=image, image_projection="none", embed_dim=image.get("output_dim", 16))
    wanted = 'tokens of an image tower of kind "vit", got .*; set image.kind to "vit"'
    with pytest.raises(ValueError, match=wanted):
        nnx.eval_shape(lambda: Albef(**KWARGS | settings, rngs=nnx.Rngs(0)))
    blip = dict(text={k: v for k, v in TEXT.items()}, modes=["encode", "decode"], end_id=1)
    with pytest.raises(ValueError, match=f"the texts of BLIP read the {wanted}"):
        nnx.eval_shape(lambda: Blip(**blip | settings, rngs=nnx.Rngs(0)))
