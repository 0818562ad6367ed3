"""A causal stack, one token at a time, does what it does with the whole sequence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.nn.attention import empty_cache
from vlp.nn.decoder import DecoderStack
from vlp.nn.stack import Stack

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(2, 5, 8)), jnp.float32)
CONTEXT = jnp.asarray(RNG.normal(size=(2, 3, 6)), jnp.float32)


def token_by_token(module, cache):
    step = jax.jit(module.next)
    found = []
    for position in range(X.shape[1]):
        y, cache = step(X[:, position : position + 1], cache, position=jnp.int32(position))
        found.append(y)
    return jnp.concatenate(found, axis=1)


@pytest.mark.parametrize(
    "settings", [{}, dict(norm_order="post"), dict(layer_scale=0.3, unroll=2), dict(remat="full")]
)
def test_a_stack_remembers_what_it_has_seen(settings):
    sizes = dict(mlp_dim=16, num_heads=2, causal=True)
    stack = filled(lambda: Stack(8, 3, **sizes, **settings, rngs=nnx.Rngs(0)))
    cache = empty_cache(stack.blocks.attention, depth=3, n=2, length=7)
    np.testing.assert_allclose(token_by_token(stack, cache), jax.jit(stack)(X), atol=1e-5)


@pytest.mark.parametrize("settings", [{}, dict(unroll=3), dict(mlp_between=False)])
def test_a_decoder_reads_its_context_once(settings):
    sizes = dict(context_width=6, mlp_dim=16, num_heads=2) | settings
    stack = filled(lambda: DecoderStack(8, 3, **sizes, rngs=nnx.Rngs(0)))
    whole = jax.jit(stack)(X, CONTEXT)
    cache = jax.jit(stack.start, static_argnames="length")(CONTEXT, length=5)
    np.testing.assert_allclose(token_by_token(stack, cache), whole, atol=1e-5)


def test_a_cache_is_of_the_dtype_of_the_products():
    sizes = dict(context_width=6, mlp_dim=16, num_heads=2, dtype="bfloat16")
    stack = filled(lambda: DecoderStack(8, 3, **sizes, rngs=nnx.Rngs(0)))

    def two_tokens(x, context):
        cache = stack.start(context, length=5)
        y, cache = stack.next(x, cache, position=jnp.int32(0))
        return stack.next(y, cache, position=jnp.int32(1))

    x, context = jnp.bfloat16(X[:, :1]), jnp.bfloat16(CONTEXT)
    y, cache = jax.eval_shape(two_tokens, x, context)
    assert {y.dtype, *(leaf.dtype for leaf in jax.tree.leaves(cache))} == {jnp.dtype("bfloat16")}
