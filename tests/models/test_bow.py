import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models import BagOfWords

PAD, LENGTH, WIDTH = 0, 6, 16


def make(**kwargs):
    kwargs = dict(vocab_size=30, length=LENGTH, width=WIDTH) | kwargs
    return filled(lambda: BagOfWords(**kwargs, rngs=nnx.Rngs(0)))


def text():
    return jnp.int32([[5, 6, 7, 1, PAD, PAD], [9, 1, PAD, PAD, PAD, PAD]])


def test_a_caption_is_the_normalised_mean_of_its_words():
    tower = make()
    pooled, tokens = tower(text())
    table = tower.tokens[...]
    np.testing.assert_allclose(tokens[0, 2], table[7], atol=1e-6)
    want = tower.norm(table[jnp.int32([9, 1])].mean(0))
    np.testing.assert_allclose(pooled[1], want, atol=1e-5)


def test_neither_order_nor_padding_matters():
    tower = make()
    np.testing.assert_allclose(tower(text()[:, ::-1])[0], tower(text())[0], atol=1e-5)
    np.testing.assert_allclose(tower(text()[:, :4])[0], tower(text())[0], atol=1e-5)


def test_a_caption_of_padding_alone_is_finite_with_a_finite_gradient():
    graphdef, params = nnx.split(make())

    def total(params):
        return jnp.sum(nnx.merge(graphdef, params)(jnp.full((1, 3), PAD))[0] ** 2)

    value, gradient = jax.value_and_grad(total)(params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((value, gradient)))


def test_the_words_are_its_only_state():
    tower = make()
    np.testing.assert_array_equal(tower.hidden_states(text())[0], tower(text())[1])
    assert tower.hidden_states(text()).shape == (1, 2, LENGTH, WIDTH)


def test_only_words_of_the_captions_get_a_gradient():
    graphdef, params = nnx.split(make())

    def total(params):
        return jnp.sum(jnp.sin(nnx.merge(graphdef, params)(text())[0]))

    gradient = nnx.as_pure(jax.grad(total)(params))["tokens"]
    moved = np.flatnonzero(np.abs(gradient).max(1))
    assert moved.tolist() == [1, 5, 6, 7, 9]


def test_a_longer_caption_is_refused():
    with pytest.raises(ValueError, match="at most 6 tokens, got 7"):
        make()(jnp.ones((2, 7), jnp.int32))
