import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vlp.nn.linear import Linear
from vlp.nn.mlp import ACTIVATIONS, Mlp
from vlp.nn.norm import LayerNorm


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_layer_norm_is_that_of_the_definition():
    norm = LayerNorm(8, eps=1e-5)
    scale, bias = values(2, 8)
    norm.scale[...], norm.bias[...] = jnp.float32(scale), jnp.float32(bias)
    x = 3 + 2 * values(4, 5, 8)
    centred = x - x.mean(-1, keepdims=True)
    want = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + bias
    np.testing.assert_allclose(norm(jnp.float32(x)), want, atol=1e-5)


def test_layer_norm_computes_in_float32_under_bfloat16():
    x = jnp.asarray(100 + values(4, 8), jnp.bfloat16)
    norm = LayerNorm(8)
    want = norm(x.astype(jnp.float32))
    assert norm(x).dtype == jnp.bfloat16
    np.testing.assert_allclose(norm(x).astype(jnp.float32), want, atol=0.01)


ACTIVATION_FORMULAS = {
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "relu": lambda x: max(x, 0),
    "silu": lambda x: x / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_their_formulas(name):
    x = np.linspace(-6, 6, 49)
    want = [ACTIVATION_FORMULAS[name](value) for value in x]
    np.testing.assert_allclose(ACTIVATIONS[name](jnp.float32(x)), want, atol=1e-6)


def test_an_unknown_activation_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="activation must be one of gelu, gelu_tanh.*got 'swish'"):
        Mlp(8, 16, activation="swish", out_std=1.0, rngs=nnx.Rngs(0))


def test_a_linear_layer_is_a_product_and_a_sum_over_any_leading_axes():
    layer = Linear(6, 4, std=0.5, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.arange(4.0)
    x = values(2, 3, 6)
    want = x @ np.asarray(layer.kernel[...], np.float64) + np.arange(4.0)
    np.testing.assert_allclose(layer(jnp.float32(x)), want, atol=1e-6)
    np.testing.assert_allclose(layer(jnp.float32(x[0, 0])), want[0, 0], atol=1e-6)


def test_a_bfloat16_layer_keeps_float32_parameters_and_gradients():
    layer = Linear(6, 4, std=0.5, dtype="bfloat16", rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(layer)
    x = jnp.float32(values(3, 6))

    def total(params):
        y = nnx.merge(graphdef, params)(x)
        assert y.dtype == jnp.bfloat16
        return jnp.sum(y.astype(jnp.float32))

    gradients = jax.grad(total)(params)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, gradients))} == {jnp.dtype("float32")}
