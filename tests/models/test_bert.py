import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models import Bert

PAD, LENGTH, WIDTH = 0, 8, 16
TOWER = dict(vocab_size=30, length=LENGTH, width=WIDTH, depth=2, num_heads=2)


def make(**kwargs):
    return filled(lambda: Bert(**{**TOWER, **kwargs}, rngs=nnx.Rngs(0)))


def text():
    rows = [[1, 5, 6, 2], [1, 2], [1, 8, 3, 4, 2]]
    return jnp.int32([row + [PAD] * (LENGTH - len(row)) for row in rows])


def test_the_stream_is_normalised_after_every_block():
    tower = make()
    states = tower.hidden_states(text())
    assert states.shape == (3, 3, LENGTH, WIDTH)
    first, norm = tower.embed_norm, tower.stack.blocks.norm2
    scales = [first.scale[...], *norm.scale[...]]
    biases = [first.bias[...], *norm.bias[...]]
    for state, scale, bias in zip(states, scales, biases, strict=True):
        plain = (state - bias[None, None]) / scale[None, None]
        np.testing.assert_allclose(plain.mean(-1), 0, atol=1e-5)
        np.testing.assert_allclose(plain.std(-1), 1, rtol=1e-3)


def test_the_tokens_are_the_last_hidden_state():
    tower = make(pooler=False)
    pooled, tokens = tower(text())
    np.testing.assert_allclose(tokens, tower.hidden_states(text())[-1], atol=1e-6)
    np.testing.assert_array_equal(pooled, tokens[:, 0])


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_trimming_padding_is_exact(pool):
    tower = make(pool=pool)
    np.testing.assert_allclose(tower(text()[:, :5])[0], tower(text())[0], atol=1e-6)


def test_the_pooler_is_a_linear_layer_and_tanh():
    tower = make()
    pooled, tokens = tower(text())
    np.testing.assert_allclose(pooled, jnp.tanh(tower.pooler(tokens[:, 0])), atol=1e-6)


def test_kinds_of_tokens_default_to_the_first_and_matter():
    tower = make()
    zeros = jnp.zeros_like(text())
    np.testing.assert_array_equal(tower(text(), token_types=zeros)[0], tower(text())[0])
    other = tower(text(), token_types=zeros.at[:, 1].set(1))[0]
    assert float(jnp.abs(other - tower(text())[0]).max()) > 1e-3


def test_every_parameter_gets_a_gradient():
    graphdef, params = nnx.split(make())

    def total(params):
        types = jnp.zeros_like(text()).at[:, 2:].set(1)
        return jnp.sum(nnx.merge(graphdef, params)(text(), token_types=types)[0] ** 2)

    for path, gradient in jax.tree.leaves_with_path(jax.jit(jax.grad(total))(params)):
        assert float(jnp.abs(gradient).max()) > 0, jax.tree_util.keystr(path)


def test_bfloat16_compute_is_near_float32():
    exact, _ = make()(text())
    near, tokens = make(dtype="bfloat16")(text())
    assert tokens.dtype == jnp.bfloat16
    assert float(jnp.abs(near.astype(jnp.float32) - exact).max()) < 0.1


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="pool must be one of cls, mean, got 'last'"):
        make(pool="last")
    with pytest.raises(ValueError, match="at most 8 tokens, got 9"):
        make()(jnp.ones((2, 9), jnp.int32))
