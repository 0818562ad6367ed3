"""Masks through whole modules: what is hidden is as if it were not there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models.resnet import GridPool
from vlp.models.vit import VisionTransformer
from vlp.nn.cross_attention import CrossAttention, CrossBlock
from vlp.nn.decoder import DecoderStack
from vlp.nn.fusion import FusionStack
from vlp.nn.pooling import AttentionPool
from vlp.nn.query_pool import QueryPool, TwoQueryPools
from vlp.nn.stack import Stack

WIDTH, QUERIES, WORDS = 8, 3, 4
SIZES = dict(mlp_dim=16, num_heads=2)
RNG = np.random.default_rng(0)
X = jnp.float32(RNG.normal(size=(2, 3, WIDTH)))
CONTEXT = jnp.float32(RNG.normal(size=(2, 5, WIDTH)))
LENGTHS = jnp.int32([3, 4])


def make(kind, *sizes, **settings):
    return filled(lambda: kind(*sizes, **settings, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def stack():
    return make(Stack, WIDTH, 1, **SIZES)


READERS = {
    "cross-attention": lambda: make(CrossAttention, WIDTH, 2, out_std=0.1),
    "cross block": lambda: make(CrossBlock, WIDTH, context_width=WIDTH, depth=1, **SIZES),
    "decoder": lambda: make(DecoderStack, WIDTH, 1, context_width=WIDTH, **SIZES),
}
OTHERS = {
    "stack": lambda: make(Stack, WIDTH, 1, **SIZES),
    "fusion": lambda: make(FusionStack, WIDTH, 1, context_width=WIDTH, **SIZES),
    "attention pool": lambda: make(AttentionPool, WIDTH, 2, mlp_dim=16),
    "query pool": lambda: make(QueryPool, WIDTH, width=WIDTH, num_queries=2, num_heads=2),
}


@pytest.mark.parametrize("name", [*READERS, *OTHERS])
def test_lengths_keys_and_pairs_hide_the_same_in_every_module(name):
    module = (READERS | OTHERS)[name]()
    before = (X,) if name in READERS else ()
    behind = (X,) if name == "fusion" else ()

    @jax.jit
    def found(context, mask):
        return module(*before, context, *behind, mask=mask)

    keys = jnp.arange(5)[None] < LENGTHS[:, None]
    by_length = found(CONTEXT, LENGTHS)
    for mask in (keys, keys[:, None, None]):
        np.testing.assert_array_equal(found(CONTEXT, mask), by_length)
    # A sequence that looks at itself is there behind its length too: of it the first three tokens.
    noise = jnp.float32(RNG.normal(size=CONTEXT.shape))
    changed = found(jnp.where(keys[:, :, None], CONTEXT, noise), LENGTHS)
    np.testing.assert_allclose(changed[:, :3], by_length[:, :3], atol=1e-6)


def test_a_mask_of_two_halves_is_two_passes_in_values_and_gradients(stack):
    graphdef, params = nnx.split(stack)
    queries, words = X, CONTEXT[:, :WORDS]
    part = np.repeat([0, 1], [QUERIES, WORDS])
    apart = jnp.asarray(part[:, None] == part[None])[None, None]

    def together(params):
        y = nnx.merge(graphdef, params)(jnp.concatenate([queries, words], axis=1), mask=apart)
        return jnp.sum(jnp.sin(y)), y

    def alone(params):
        stack = nnx.merge(graphdef, params)
        y = jnp.concatenate([stack(queries), stack(words)], axis=1)
        return jnp.sum(jnp.sin(y)), y

    got, want = (
        jax.jit(jax.value_and_grad(function, has_aux=True))(params)
        for function in (together, alone)
    )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_words_that_see_queries_and_earlier_words_are_blind_to_later_ones(stack):
    allowed = np.tril(np.ones((QUERIES + WORDS,) * 2, bool))
    allowed[:QUERIES, :QUERIES] = True
    x = jnp.concatenate([X, CONTEXT[:, :WORDS]], axis=1)
    mask = jnp.asarray(allowed)[None, None]
    run = jax.jit(lambda x: stack(x, mask=mask))
    for changed in range(QUERIES, QUERIES + WORDS):
        difference = np.abs(run(x.at[:, changed, 0].add(1.0)) - run(x)).max(axis=(0, 2))
        assert difference[:changed].max() == 0 and difference[changed:].min() > 1e-4


def test_a_causal_stack_takes_lengths_besides(stack):
    causal = make(Stack, WIDTH, 1, causal=True, **SIZES)
    triangle = np.tril(np.ones((5, 5), bool))
    dense = jnp.asarray(triangle & (np.arange(5) < np.asarray(LENGTHS)[:, None])[:, None])[:, None]
    np.testing.assert_allclose(causal(CONTEXT, mask=LENGTHS), stack(CONTEXT, mask=dense), atol=1e-6)


POOLS = {
    "attention": lambda **how: make(AttentionPool, WIDTH, 2, mlp_dim=16, **how),
    "queries": lambda **how: make(QueryPool, WIDTH, width=WIDTH, num_queries=2, num_heads=2, **how),
    "two": lambda **how: make(
        TwoQueryPools, WIDTH, width=WIDTH, num_queries=2, num_heads=2, cascade=True, **how
    ),
    "grid": lambda attention="einsum": make(
        GridPool, WIDTH, 2, num_tokens=5, output_dim=6, implementation=attention
    ),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools_attend_by_the_implementation_they_are_given(name, monkeypatch):
    usual, other = POOLS[name]()(CONTEXT), POOLS[name](attention="xla")
    calls = []
    flash = jax.nn.dot_product_attention

    def counted(*args, **kwargs):
        calls.append(kwargs["implementation"])
        return flash(*args, **kwargs)

    monkeypatch.setattr(jax.nn, "dot_product_attention", counted)
    np.testing.assert_allclose(other(CONTEXT), usual, atol=1e-5)
    assert set(calls) == {"xla"}


def test_a_tower_s_attention_is_that_of_its_pool():
    sizes = dict(image_size=8, patch_size=4, width=WIDTH, depth=1, num_heads=2, attention="xla")
    queries = dict(width=WIDTH, num_queries=2, num_heads=2)

    def head(**pool):
        return nnx.eval_shape(lambda: VisionTransformer(**sizes, **pool, rngs=nnx.Rngs(0))).head

    assert head(pool="map").implementation == "xla"
    assert head(pool="queries", queries=queries).attention.implementation == "xla"
    assert head(pool="cascade", queries=queries).generative.attention.implementation == "xla"
