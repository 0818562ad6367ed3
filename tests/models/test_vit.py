import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models import VisionTransformer

SIZE, PATCH, WIDTH = 12, 4, 16
TOWER = dict(image_size=SIZE, patch_size=PATCH, width=WIDTH, depth=2, num_heads=2)


def make(**kwargs):
    return filled(lambda: VisionTransformer(**{**TOWER, **kwargs}, rngs=nnx.Rngs(0)))


def pixels(n=3):
    return jnp.float32(np.random.default_rng(0).normal(size=(n, SIZE, SIZE, 3)))


def keys(n=3):
    return jax.random.split(jax.random.key(1), n)


QUERIES = dict(width=8, num_queries=5, num_heads=2)


@pytest.mark.parametrize(("pool", "tokens"), [("cls", 10), ("mean", 9), ("map", 9)])
def test_a_tower_gives_one_vector_an_image_and_one_a_token(pool, tokens):
    pooled, sequence = jax.eval_shape(make(pool=pool), pixels())
    assert pooled.shape == (3, WIDTH) and sequence.shape == (3, tokens, WIDTH)


def test_pooling_reads_the_normalised_tokens():
    pooled, tokens = make(pool="cls")(pixels())
    np.testing.assert_array_equal(pooled, tokens[:, 0])
    tower = make(pool="map")
    pooled, tokens = tower(pixels())
    np.testing.assert_allclose(pooled, tower.head(tokens), atol=1e-6)
    centred = (tokens - tower.norm.bias[...][None, None]) / tower.norm.scale[...][None, None]
    np.testing.assert_allclose(centred.mean(-1), 0, atol=1e-5)


@pytest.mark.parametrize(("pool", "tokens"), [("queries", 5), ("cascade", 6), ("parallel", 6)])
def test_queries_read_the_last_block_and_the_first_token_that_leaves_them_is_pooled(pool, tokens):
    tower = make(pool=pool, queries=QUERIES)
    pooled, sequence = tower(pixels())
    assert tower.width == 8 and sequence.shape == (3, tokens, 8)
    np.testing.assert_array_equal(pooled, sequence[:, 0])
    found = tower.norm(tower.head(tower.hidden_states(pixels())[-1]))
    np.testing.assert_allclose(sequence, found, atol=1e-5)


def test_poolings_beside_the_class_token_leave_it_out():
    tower = make(pool="mean", class_token=True)
    pooled, tokens = tower(pixels())
    assert tokens.shape[1] == 10
    np.testing.assert_allclose(pooled, tokens[:, 1:].mean(1), atol=1e-6)
    tower = make(pool="map", class_token=True)
    pooled, tokens = tower(pixels())
    np.testing.assert_allclose(pooled, tower.head(tokens[:, 1:]), atol=1e-6)


@pytest.mark.parametrize("pool", ["cls", "mean", "map"])
def test_a_norm_after_pooling_leaves_the_tokens_as_the_last_block_gave_them(pool):
    tower = make(pool=pool, norm_after_pool=True)
    pooled, tokens = tower(pixels())
    np.testing.assert_allclose(tokens, tower.hidden_states(pixels())[-1], atol=1e-5)
    raw = {"cls": lambda x: x[:, 0], "mean": lambda x: x.mean(1), "map": tower.head}[pool](tokens)
    np.testing.assert_allclose(pooled, tower.norm(raw), atol=1e-5)


def test_a_pooler_is_a_linear_layer_and_tanh():
    tower = make(pooler=True)
    pooled, tokens = tower(pixels())
    np.testing.assert_allclose(pooled, jnp.tanh(tower.pooler(tokens[:, 0])), atol=1e-6)


def test_hidden_states_begin_with_the_embedded_patches_and_end_before_the_last_norm():
    tower = make()
    states = tower.hidden_states(pixels())
    assert states.shape == (3, 3, 10, WIDTH)
    np.testing.assert_allclose(states[0], tower.embed(pixels()), atol=1e-6)
    np.testing.assert_allclose(tower.norm(states[-1]), tower(pixels())[1], atol=1e-5)


def test_the_class_token_has_the_first_position():
    tower = make(pool="cls")
    x = tower.embed(pixels())
    want = tower.class_token[...] + tower.positions[...][0]
    np.testing.assert_allclose(x[1, 0], want, atol=1e-6)


@pytest.mark.parametrize(
    ("pool", "position", "kept"),
    [("cls", "learned", 6), ("mean", "sincos2d", 5), ("map", "learned", 5)],
)
def test_dropping_patches_keeps_a_fixed_count_and_the_class_token(pool, position, kept):
    tower = make(pool=pool, position=position)
    whole = tower.embed(pixels())
    part = tower.embed(pixels(), keys=keys(), patch_drop=0.45)
    assert part.shape == (3, kept, WIDTH)
    for image in range(3):  # each kept token is one of the whole image's, its position with it
        distance = jnp.abs(part[image][:, None] - whole[image][None]).max(-1)
        found = jnp.argmin(distance, axis=1).tolist()
        assert float(distance.min(1).max()) < 1e-5 and len(set(found)) == kept
        assert pool != "cls" or found[0] == 0


def test_dropping_no_patch_changes_nothing():
    tower = make()
    with_keys, _ = tower(pixels(), keys=keys(), patch_drop=0.0)
    np.testing.assert_array_equal(with_keys, tower(pixels())[0])


def test_which_patches_are_dropped_belongs_to_the_key_not_to_the_place_in_the_batch():
    tower = make()
    order = jnp.array([2, 0, 1])
    pooled, _ = tower(pixels(), keys=keys(), patch_drop=0.5)
    moved, _ = tower(pixels()[order], keys=keys()[order], patch_drop=0.5)
    np.testing.assert_allclose(moved, pooled[order], atol=1e-5)


def test_the_position_of_a_patch_matters_unless_there_is_no_way_to_know_it():
    shuffled = pixels()[:, ::-1]  # patches change places, and inside them pixels do
    for position in ("learned", "sincos2d"):
        tower = make(pool="mean", position=position)
        assert float(jnp.abs(tower(shuffled)[0] - tower(pixels())[0]).max()) > 1e-3


def test_images_of_a_batch_do_not_see_each_other():
    tower = make()
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(tower(x)[0][0])))(pixels())
    assert float(jnp.abs(gradient[0]).max()) > 0 and float(jnp.abs(gradient[1:]).max()) == 0


def test_bfloat16_compute_is_near_float32():
    exact, _ = make()(pixels())
    near, tokens = make(dtype="bfloat16")(pixels())
    assert tokens.dtype == jnp.bfloat16
    assert float(jnp.abs(near.astype(jnp.float32) - exact).max()) < 0.1
    assert {x.dtype for x in jax.tree.leaves(nnx.state(make(dtype="bfloat16")))} == {
        jnp.dtype("float32")
    }


def test_optional_parameters_exist_only_when_asked_for():
    def names(**kwargs):
        return set(nnx.as_pure(nnx.state(make(**kwargs))))

    assert names(pool="cls", pre_norm=True) >= {"class_token", "positions", "pre_norm"}
    assert names(pool="mean", position="sincos2d") == {"patches", "stack", "norm"}
    assert make(patch_bias=False).patches.linear.bias is None


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="at least patch_size 4, got 3"):
        make(image_size=3)
    with pytest.raises(ValueError, match="one of cls, mean, map, queries, cascade, parallel, got"):
        make(pool="max")
    for wrong in (dict(pool="cascade"), dict(pool="map", queries=QUERIES)):
        with pytest.raises(ValueError, match="given with pool queries, cascade, parallel and only"):
            make(**wrong)
    with pytest.raises(ValueError, match="position must be one of learned, sincos2d, got 'rope'"):
        make(position="rope")
    with pytest.raises(ValueError, match="images must be 12 x 12 pixels, got 8 x 8"):
        make()(pixels()[:, :8, :8])
    with pytest.raises(ValueError, match="patch_drop 0.5 needs keys"):
        make()(pixels(), patch_drop=0.5)
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16, got 'float16'"):
        make(dtype="float16")
    with pytest.raises(ValueError, match='pool="cls" needs class_token to be True or None'):
        make(class_token=False)
    with pytest.raises(ValueError, match="patch_drop must be in"):
        make()(pixels(), keys=keys(), patch_drop=1.0)
