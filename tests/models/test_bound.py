import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models.bound import Bound
from vlp.models.build import make_model
from vlp.training.params import leaf_paths, path_name

TOWER = dict(width=16, depth=2, num_heads=2)
KWARGS = dict(
    image=dict(image_size=8, patch_size=4, **TOWER),
    text=dict(vocab_size=20, length=6, **TOWER),
    audio=dict(frames=12, n_mels=8, patch_size=(4, 4), **TOWER),
    embed_dim=10,
    pairs=("image-text", "image-audio"),
)


def make(**kwargs):
    return filled(lambda: Bound(**{**KWARGS, **kwargs}, rngs=nnx.Rngs(0)))


def inputs():
    rng = np.random.default_rng(0)
    return {
        "image": jnp.asarray(rng.integers(0, 256, (3, 8, 8, 3), np.uint8)),
        "text": jnp.int32([[3, 4, 1, 0, 0, 0], [5, 1, 0, 0, 0, 0], [6, 7, 8, 9, 2, 1]]),
        "audio": jnp.float32(rng.normal(size=(3, 12, 8))),
    }


@jax.jit
def encoded(model, given):
    return {name: model.encode(name, each) for name, each in given.items()}


def names(model):
    return {path_name(path) for path, _ in leaf_paths(nnx.to_pure_dict(nnx.state(model)))}


def test_every_modality_has_unit_vectors_of_one_space_and_each_pair_its_scale():
    model = make()
    assert list(model.towers) == ["image", "text", "audio"]
    for each in encoded(model, inputs()).values():
        assert each.embedding.shape == (3, 10)
        np.testing.assert_allclose(jnp.linalg.norm(each.embedding, axis=1), 1, rtol=1e-5)
    scales = {name for name in names(model) if name.startswith("log_scales")}
    assert scales == {"log_scales/image-text", "log_scales/image-audio"}
    assert model.log_scale is model.log_scales["image-text"]
    assert make(pairs=("image-audio",)).log_scale is None


@pytest.mark.parametrize("change", [{}, dict(text=None), dict(trunk="image")])
def test_the_same_model_is_built_again_from_its_own_kwargs(change):
    pairs = ("image-audio",) if "text" in change else KWARGS["pairs"]
    model = make(pairs=pairs, **change)
    kwargs = json.loads(json.dumps(model.kwargs))
    again = filled(lambda: make_model(dict(kind="bound", **kwargs), rngs=nnx.Rngs(0)))
    assert again.kwargs == model.kwargs and names(again) == names(model)


def test_a_trunk_is_there_once_and_serves_all():
    model, apart = make(trunk="image"), make()
    assert {name.split("/stack/")[0] for name in names(model) if "/stack/" in name} == {"image"}
    for name, tower in model.towers.items():  # the same with a copy of the blocks in each
        stack = model.image.stack
        setattr(apart, name, tower)
        getattr(apart, name).stack = stack
        setattr(apart, f"{name}_projection", getattr(model, f"{name}_projection"))
    with_copies = encoded(apart, inputs())
    for name in ("text", "audio"):
        getattr(model, name).stack = None
    jax.tree.map(np.testing.assert_array_equal, encoded(model, inputs()), with_copies)


def test_a_tower_without_blocks_has_no_hidden_states():
    model, given = make(trunk="image"), inputs()
    with pytest.raises(ValueError, match="audio tower has no blocks but those of image"):
        model.hidden_states("audio", given["audio"])
    states = jax.eval_shape(lambda x: model.hidden_states("image", x), given["image"])
    assert states.shape == (3, 3, 5, 16)


def test_gradients_reach_the_trunk_from_every_modality():
    graphdef, params = nnx.split(make(trunk="image"))
    given = inputs()

    def loss(params, name):
        return jnp.sum(nnx.merge(graphdef, params).encode(name, given[name]).embedding[:, 0])

    gradients = jax.jit(lambda params: {name: jax.grad(loss)(params, name) for name in given})
    for gradient in gradients(nnx.as_pure(params)).values():
        kernels = [
            leaf
            for path, leaf in leaf_paths(gradient["image"]["stack"])
            if path_name(path).endswith("kernel")
        ]
        assert len(kernels) == 4 and all(float(jnp.abs(leaf).max()) > 0 for leaf in kernels)


def test_pairs_and_trunks_that_cannot_be_are_refused():
    for pairs in (("image-smell",), ("image",), ("image-text-audio",)):
        with pytest.raises(ValueError, match="pairs must be of two of the towers image, text, aud"):
            make(pairs=pairs)
    with pytest.raises(ValueError, match="of the towers image, audio, .* got 'image-text'"):
        make(text=None)
    with pytest.raises(ValueError, match="towers must be of image, text, audio, got smell"):
        make(smell=TOWER)
    with pytest.raises(ValueError, match="trunk must be one of the towers .* got 'smell'"):
        make(trunk="smell")
    with pytest.raises(ValueError, match="of one width, got .*'text': 8"):
        make(trunk="image", text=KWARGS["text"] | dict(width=8))
    with pytest.raises(ValueError, match="text have no blocks"):
        make(trunk="image", text=dict(kind="bow", vocab_size=20, length=6, width=16))
