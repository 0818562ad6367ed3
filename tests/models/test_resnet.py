import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models import DualEncoder, ModifiedResNet
from vlp.models.resnet import Bottleneck
from vlp.nn.batch_norm import statistics

TOWER = dict(image_size=64, layers=[1, 2, 1, 1], width=4, output_dim=6)
KWARGS = dict(
    image=dict(kind="resnet", **TOWER),
    text=dict(vocab_size=20, length=6, width=8, depth=1, num_heads=2),
    embed_dim=6,
    image_projection="none",
)


def tower(**kwargs):
    return filled(lambda: ModifiedResNet(**{**TOWER, **kwargs}, rngs=nnx.Rngs(0)))


def pixels(n=4):
    return jnp.asarray(np.random.default_rng(0).normal(size=(n, 64, 64, 3)), jnp.float32)


def run(function, *args):
    """Compiled: one by one the operations take seconds."""
    return jax.jit(function)(*args)


def test_feature_maps_shrink_by_two_and_tokens_are_the_last_row_by_row():
    resnet = tower()
    maps, (pooled, tokens) = run(lambda x: (resnet.stages(x), resnet(x)), pixels())
    sizes = [(4, 16, 16, 4), (4, 16, 16, 16), (4, 8, 8, 32), (4, 4, 4, 64), (4, 2, 2, 128)]
    assert [m.shape for m in maps] == sizes
    assert pooled.shape == (4, 6) and resnet.width == 6
    np.testing.assert_allclose(tokens, maps[-1].reshape(4, 4, 128), atol=1e-6)


def test_an_image_alone_gives_what_it_gives_among_others_except_in_training():
    resnet = tower()
    together, alone = run(lambda x: (resnet(x)[0][:1], resnet(x[:1])[0]), pixels())
    np.testing.assert_allclose(together, alone, atol=1e-5)

    def training(x):
        other = nnx.clone(resnet)
        return other(x, train=True)[0][:1] - other(x[:1], train=True)[0]

    assert np.abs(run(training, pixels())).max() > 1e-2


def test_evaluation_moves_no_statistics_and_training_moves_all():
    resnet = tower()
    graphdef, state = nnx.split(resnet)

    def after(state, x, train):
        model = nnx.merge(graphdef, state)
        model(x, train=train)
        return statistics(model)

    before = statistics(resnet)
    still = jax.jit(after, static_argnums=2)(state, pixels(), False)
    jax.tree.map(np.testing.assert_array_equal, before, still)
    moved = jax.jit(after, static_argnums=2)(state, pixels(), True)
    for path, leaf in jax.tree.leaves_with_path(moved):
        name = jax.tree_util.keystr(path)
        assert not np.array_equal(leaf, _at(before, path)), name


def _at(tree, path):
    for key in path:
        tree = tree[key.key]
    return tree


def test_a_fresh_block_is_its_shortcut():
    block = Bottleneck(16, 4, stride=1, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 16)), jnp.float32)
    np.testing.assert_array_equal(run(block, x), jax.nn.relu(x))


def test_every_parameter_gets_a_gradient_in_training():
    graphdef, params, rest = nnx.split(tower(), nnx.Param, ...)
    params, rest = nnx.as_pure(params), nnx.as_pure(rest)  # variables belong to one trace

    def total(params):
        pooled, _ = nnx.merge(graphdef, params, rest)(pixels(), train=True)
        return jnp.sum(pooled * jnp.arange(6.0)[None] ** 2)

    gradients = run(jax.grad(total), params)
    for path, gradient in jax.tree.leaves_with_path(gradients):
        assert float(jnp.abs(gradient).max()) > 0, jax.tree_util.keystr(path)


def test_bfloat16_stays_near_float32_and_statistics_stay_float32():
    exact, rough = tower(), tower(dtype="bfloat16")
    graphdef, state = nnx.split(rough)

    def training(state, x):
        model = nnx.merge(graphdef, state)
        return model(x, train=True)[0], statistics(model)

    pooled, moved = run(training, state, pixels())
    want = run(lambda x: nnx.clone(exact)(x, train=True)[0], pixels())
    assert pooled.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(moved)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(pooled.astype(jnp.float32), want, atol=0.1 * np.abs(want).max())


def test_the_dual_encoder_with_a_resnet_is_built_again_from_its_kwargs_and_embeds():
    model = filled(lambda: DualEncoder(**KWARGS, rngs=nnx.Rngs(0)))
    kwargs = json.loads(json.dumps(model.kwargs))
    again = filled(lambda: DualEncoder(**kwargs, rngs=nnx.Rngs(0)))
    assert nnx.split(again)[0] == nnx.split(model)[0]
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))
    encoded = run(again.encode_image, images)
    np.testing.assert_allclose(jnp.linalg.norm(encoded.embedding, axis=1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="is a ModifiedResNet, which takes no patch_drop, got 0.5"):
        model.encode_image(images, patch_drop=0.5)
    with pytest.raises(ValueError, match="hidden states need a transformer, .* use stages"):
        model.image_hidden_states(images)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(image_size=80), "must divide by 32, got 80; try 64 or 96"),
        (dict(layers=[3, 4, 6]), r"four numbers of blocks, .* got \[3, 4, 6\]; try"),
        (dict(width=5), "must be even, got 5; try 6"),
        (dict(dtype="float16"), "dtype must be one of float32, bfloat16, got 'float16'"),
        (dict(num_heads=5), "num_heads must divide width 128, got 5"),
    ],
)
def test_bad_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        tower(**kwargs)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="images must be 64 x 64 pixels, got 32 x 64"):
        tower()(pixels()[:, :32])
