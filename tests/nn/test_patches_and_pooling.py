import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vlp.nn.patches import PatchEmbedding, extract_patches, kept_patches
from vlp.nn.pooling import AttentionPool, first_position, mean_pool, take_token
from vlp.nn.positions import sincos_2d


def normal(*shape):
    return jnp.float32(np.random.default_rng(0).normal(size=shape))


def test_patches_run_row_by_row_and_hold_row_column_channel():
    images = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    patches = extract_patches(jnp.float32(images), 2)
    assert patches.shape == (2, 6, 12)
    np.testing.assert_array_equal(patches[1, 4], images[1, 2:4, 2:4].ravel())


def test_the_patch_embedding_is_a_convolution():
    layer = PatchEmbedding(4, 5, rngs=nnx.Rngs(0))
    layer.linear.bias[...] = jnp.arange(5.0)
    images = normal(2, 8, 12, 3)
    weight = layer.linear.kernel[...].reshape(4, 4, 3, 5).transpose(3, 2, 0, 1)
    convolved = jax.lax.conv_general_dilated(images.transpose(0, 3, 1, 2), weight, (4, 4), "VALID")
    want = convolved.reshape(2, 5, 6).transpose(0, 2, 1) + jnp.arange(5.0)[None, None]
    np.testing.assert_allclose(layer(extract_patches(images, 4)), want, atol=1e-5)


@pytest.mark.parametrize(("drop", "count"), [(0.5, 8), (0.75, 4), (0.3, 11), (0.999, 1)])
def test_each_image_keeps_its_own_subset_of_distinct_patches(drop, count):
    keys = jax.random.split(jax.random.key(0), 20)
    kept = np.asarray(kept_patches(keys, num_patches=16, patch_drop=drop))
    assert kept.shape == (20, count)
    assert all(len(set(row)) == count and min(row) >= 0 and max(row) < 16 for row in kept)
    assert len({tuple(sorted(row)) for row in kept}) > 1
    np.testing.assert_array_equal(
        kept[3:4], kept_patches(keys[3:4], num_patches=16, patch_drop=drop)
    )


def test_every_patch_is_kept_equally_often():
    keys = jax.random.split(jax.random.key(0), 2000)
    counts = np.bincount(np.ravel(kept_patches(keys, num_patches=8, patch_drop=0.5)), minlength=8)
    np.testing.assert_allclose(counts / 2000, 0.5, atol=0.05)


def test_sine_positions_are_those_of_the_formula():
    table = sincos_2d(2, 3, 8)
    assert table.shape == (6, 8)
    row, column = 1, 2
    want = [np.sin(column), np.sin(column * 1e-4), np.cos(column), np.cos(column * 1e-4)]
    want += [np.sin(row), np.sin(row * 1e-4), np.cos(row), np.cos(row * 1e-4)]
    np.testing.assert_allclose(table[row * 3 + column], want, atol=1e-6)
    with pytest.raises(ValueError, match="divide by 4 for 2-D sine positions, got 10"):
        sincos_2d(2, 2, 10)


def test_mean_pooling_leaves_padding_out():
    tokens = normal(3, 4, 5)
    present = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    pooled = mean_pool(tokens, mask=jnp.asarray(present))
    np.testing.assert_allclose(pooled[0], tokens[0, :2].mean(0), rtol=1e-5)
    np.testing.assert_allclose(pooled[1], mean_pool(tokens)[1], rtol=1e-5, atol=1e-6)
    assert float(jnp.sum(jnp.abs(pooled[2]))) == 0


def test_the_first_position_of_a_token_is_found_or_else_the_first_of_the_row():
    text = jnp.int32([[5, 1, 9, 1], [1, 1, 1, 1], [2, 3, 4, 5]])
    position = first_position(text, 1)
    assert position.tolist() == [1, 0, 0]
    tokens = normal(3, 4, 5)
    np.testing.assert_array_equal(take_token(tokens, position)[2], tokens[2, 0])


def attention_pool():
    return AttentionPool(8, 2, mlp_dim=16, rngs=nnx.Rngs(0))


def test_attention_pooling_is_that_of_the_definition():
    pool, tokens = attention_pool(), normal(2, 5, 8)

    def dense(layer, x):
        return x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])

    x = np.zeros((2, 8))
    query = dense(pool.query, np.asarray(pool.probe[...]))
    for n in range(2):
        key, value = np.split(dense(pool.key_value, np.asarray(tokens[n])), 2, axis=1)
        for h in (slice(0, 4), slice(4, 8)):
            weights = np.exp(key[:, h] @ query[h] / 2)
            x[n, h] = weights @ value[:, h] / weights.sum()
    x = dense(pool.out, x)
    want = x + pool.mlp(pool.norm(jnp.float32(x)))
    np.testing.assert_allclose(pool(tokens), want, atol=1e-5)


def test_attention_pooling_leaves_padding_out():
    pool = attention_pool()
    tokens = jnp.float32(np.random.default_rng(0).normal(size=(2, 5, 8)))
    present = jnp.arange(5)[None] < jnp.int32([[5], [3]])
    pooled = pool(tokens, mask=present)
    np.testing.assert_allclose(pooled[:1], pool(tokens[:1]), atol=1e-5)
    np.testing.assert_allclose(pooled[1:], pool(tokens[1:, :3]), atol=1e-5)


def test_attention_pooling_does_not_see_the_order_of_tokens():
    pool, tokens = attention_pool(), normal(2, 5, 8)
    np.testing.assert_allclose(pool(tokens[:, ::-1]), pool(tokens), atol=1e-5)
