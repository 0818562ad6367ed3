import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models import DualEncoder
from vlp.models.base import unit_norm
from vlp.models.towers import TOWERS

KWARGS = dict(
    image=dict(image_size=8, patch_size=4, width=16, depth=1, num_heads=2),
    text=dict(vocab_size=20, length=6, width=12, depth=1, num_heads=2),
    embed_dim=10,
)


def make(**kwargs):
    return filled(lambda: DualEncoder(**{**KWARGS, **kwargs}, rngs=nnx.Rngs(0)))


def images():
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8))


def text():
    return jnp.int32([[3, 4, 1, 0], [5, 1, 0, 0], [6, 7, 8, 1]])


def test_embeddings_are_unit_norm_float32_even_in_bfloat16():
    towers = {name: {**KWARGS[name], "dtype": "bfloat16"} for name in ("image", "text")}
    model = make(**towers)
    for encoded in (model.encode_image(images()), model.encode_text(text())):
        assert encoded.embedding.shape == (3, 10) and encoded.embedding.dtype == jnp.float32
        np.testing.assert_allclose(jnp.linalg.norm(encoded.embedding, axis=1), 1, rtol=1e-5)


def test_tokens_are_those_of_the_towers():
    model = make()
    image, caption = jax.eval_shape(
        lambda: (model.encode_image(images()).tokens, model.encode_text(text()).tokens)
    )
    assert image.shape == (3, 5, 16) and caption.shape == (3, 4, 12)


def test_bytes_are_normalised_by_mean_and_deviation_of_each_channel():
    model = make(image_mean=(0.1, 0.2, 0.3), image_std=(0.5, 0.6, 0.7))
    want = (np.asarray(images()) / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    np.testing.assert_allclose(model.normalise(images()), want, atol=1e-6)


def test_the_same_model_is_built_again_from_its_own_kwargs():
    model = make(init_bias=-10.0, image_projection="linear_bias")
    kwargs = json.loads(json.dumps(model.kwargs))
    again = filled(lambda: DualEncoder(**kwargs, rngs=nnx.Rngs(0)))
    assert again.kwargs == model.kwargs
    first, second = (nnx.split(m)[0] for m in (model, again))
    assert first == second and hash(first) == hash(second)


def test_scale_and_bias_start_where_asked():
    model = DualEncoder(**KWARGS, rngs=nnx.Rngs(0))
    assert float(model.log_scale[...]) == pytest.approx(math.log(1 / 0.07))
    assert model.bias is None
    model = DualEncoder(**KWARGS, init_scale=10.0, init_bias=-10.0, rngs=nnx.Rngs(0))
    assert float(jnp.exp(model.log_scale[...])) == pytest.approx(10)
    assert float(model.bias[...]) == -10


def test_projections_are_linear_with_or_without_bias_or_absent():
    narrow = {**KWARGS["text"], "width": 10}
    model = make(image_projection="linear_bias", text=narrow, text_projection="none")
    assert model.image_projection.bias is not None and model.text_projection is None
    want = unit_norm(model.text(text())[0])
    np.testing.assert_array_equal(model.encode_text(text()).embedding, want)


@pytest.mark.parametrize("absent", ["image", "text"])
def test_a_tower_alone_encodes_its_own_and_refuses_the_other(absent):
    model = make(**{absent: None}, init_bias=-10.0)
    assert model.log_scale is None and model.bias is None
    assert getattr(model, absent) is None and getattr(model, f"{absent}_projection") is None
    calls = {
        "image": (model.encode_image, model.image_hidden_states, images()),
        "text": (model.encode_text, model.text_hidden_states, text()),
    }
    for encode in calls[absent][:2]:
        with pytest.raises(ValueError, match=f"this model has no {absent} tower"):
            encode(calls[absent][2])
    encode, hidden_states, inputs = calls["text" if absent == "image" else "image"]
    assert encode(inputs).embedding.shape == (3, 10)
    assert hidden_states(inputs).shape[0] == 2
    again = filled(lambda: DualEncoder(**model.kwargs, rngs=nnx.Rngs(0)))
    assert nnx.split(again)[0] == nnx.split(model)[0]


def test_towers_are_chosen_by_kind_and_the_default_is_a_pair_of_transformers():
    kinds = {
        "bert": dict(vocab_size=20, length=6, width=16, depth=1, num_heads=2),
        "bow": dict(vocab_size=20, length=6, width=16),
        "transformer": KWARGS["text"],
    }
    for kind, settings in kinds.items():
        model = make(text=dict(kind=kind, **settings))
        assert type(model.text) is TOWERS["text"][kind]
        assert model.encode_text(text()).embedding.shape == (3, 10)
        assert model.kwargs["text"]["kind"] == kind
    assert type(make().image) is TOWERS["image"]["vit"]
    assert type(make().text) is TOWERS["text"]["transformer"]


def test_hidden_states_are_those_of_the_towers():
    model = make()
    want = model.image.hidden_states(model.normalise(images()))
    np.testing.assert_array_equal(model.image_hidden_states(images()), want)
    np.testing.assert_array_equal(
        model.text_hidden_states(text()), model.text.hidden_states(text())
    )


def test_a_zero_vector_has_a_zero_unit_vector_and_a_finite_gradient():
    x = jnp.zeros((2, 4)).at[1].set(2.0)
    np.testing.assert_allclose(unit_norm(x), [[0, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]], rtol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(unit_norm(x)[:, 0]))(x)
    assert bool(jnp.all(jnp.isfinite(gradient)))


def test_every_parameter_of_the_towers_gets_a_gradient():
    graphdef, params = nnx.split(make())

    def total(params):
        model = nnx.merge(graphdef, params)
        logits = model.encode_image(images()).embedding @ model.encode_text(text()).embedding.T
        return jnp.sum(jnp.exp(model.log_scale[...]) * jnp.diagonal(logits))

    gradients = nnx.as_pure(jax.jit(jax.grad(total))(params))
    for path, gradient in jax.tree.leaves_with_path(gradients):
        assert float(jnp.abs(gradient).max()) > 0, jax.tree_util.keystr(path)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="image_projection must be one of none, linear, linear_b"):
        make(image_projection="mlp")
    with pytest.raises(ValueError, match='text_projection="none" needs a tower of width embed_dim'):
        make(text_projection="none")
    with pytest.raises(ValueError, match="image.kind must be one of vit, .*, got 'swin'"):
        make(image=dict(kind="swin"))
    with pytest.raises(ValueError, match="text.kind must be one of transformer, .*, got 't5'"):
        make(text=dict(kind="t5"))
    with pytest.raises(ValueError, match="image or text to be a dict, got None for both"):
        make(image=None, text=None)
    with pytest.raises(TypeError, match="heads"):
        make(image={**KWARGS["image"], "heads": 2})
