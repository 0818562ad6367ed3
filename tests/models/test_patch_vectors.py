"""Vectors of patches: what a tower would pool of each alone."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models import VisionTransformer
from vlp.nn.stack import layer_of

TOWER = dict(image_size=12, patch_size=4, width=16, depth=2, num_heads=2)
PATCHES = 9


def make(**kwargs):
    return filled(lambda: VisionTransformer(**{**TOWER, **kwargs}, rngs=nnx.Rngs(0)))


def pixels(n=3):
    return jnp.float32(np.random.default_rng(0).normal(size=(n, 12, 12, 3)))


def test_by_a_class_token_they_are_the_other_tokens():
    tower = make(pool="cls")
    np.testing.assert_allclose(tower.patch_vectors(pixels()), tower(pixels())[1][:, 1:], atol=1e-5)


@pytest.mark.parametrize("class_token", [False, True])
def test_by_a_mean_their_mean_is_what_is_pooled(class_token):
    tower = make(pool="mean", class_token=class_token)
    found = tower.patch_vectors(pixels())
    assert found.shape == (3, PATCHES, 16)
    np.testing.assert_allclose(found.mean(axis=1), tower(pixels())[0], atol=1e-5)


def test_by_an_attention_head_they_are_the_head_of_each_token_alone():
    tower = make(pool="map")
    tokens = tower(pixels())[1]
    alone = tower.head(tokens.reshape(-1, 1, 16)).reshape(tokens.shape)
    np.testing.assert_allclose(tower.patch_vectors(pixels()), alone, atol=1e-5)


@pytest.mark.parametrize("pooling", [dict(norm_after_pool=True), dict(pooler=True)])
def test_what_stands_behind_the_pooling_stands_behind_each_patch(pooling):
    tower = make(**pooling)
    states = tower.hidden_states(pixels())[-1]
    normalised = tower.norm(states)[:, 1:]
    expected = jnp.tanh(tower.pooler(normalised)) if "pooler" in pooling else normalised
    np.testing.assert_allclose(tower.patch_vectors(pixels()), expected, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"pre_norm": True}, {"layer_scale": 0.5}])
def test_alone_in_the_last_block_is_attention_that_sees_nothing_but_itself(settings):
    tower = make(**settings)
    before = tower.hidden_states(pixels())[-2]
    itself = jnp.eye(1 + PATCHES, dtype=bool)[None, None]
    behind = layer_of(tower.stack.blocks, -1)(before, mask=itself)
    found = tower.patch_vectors(pixels(), last_alone=True)
    np.testing.assert_allclose(found, tower.norm(behind)[:, 1:], atol=1e-5)
    assert not np.allclose(found, tower.patch_vectors(pixels()), atol=1e-2)


def test_learned_queries_have_no_vectors_of_patches():
    tower = make(pool="queries", queries=dict(width=8, num_queries=5, num_heads=2))
    with pytest.raises(ValueError, match=r'"map" for vectors of patches, got .queries.'):
        tower.patch_vectors(pixels())
