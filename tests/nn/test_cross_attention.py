import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.nn.attention import SelfAttention
from vlp.nn.cross_attention import CrossAttention, CrossBlock
from vlp.nn.decoder import DecoderStack
from vlp.nn.query_pool import QueryPool, TwoQueryPools

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(2, 3, 8)), jnp.float32)
CONTEXT = jnp.asarray(RNG.normal(size=(2, 5, 6)), jnp.float32)


def cross(**kwargs):
    settings = dict(context_width=6, out_std=0.1) | kwargs
    return filled(lambda: CrossAttention(8, 2, **settings, rngs=nnx.Rngs(0)))


def test_a_sequence_that_attends_to_itself_does_what_self_attention_does():
    attention = cross(context_width=8)
    same = filled(lambda: SelfAttention(8, 2, out_std=0.1, rngs=nnx.Rngs(0)))
    for leaf in ("kernel", "bias"):
        query, key_value = (getattr(x, leaf)[...] for x in (attention.query, attention.key_value))
        getattr(same.qkv, leaf)[...] = jnp.concatenate([query, key_value], axis=-1)
        getattr(same.out, leaf)[...] = getattr(attention.out, leaf)[...]
    np.testing.assert_allclose(attention(X, X), same(X), atol=1e-6)


def test_what_is_not_present_is_as_if_it_were_not_there():
    present = jnp.ones((2, 5), bool).at[:, 3:].set(False)
    attention, block = cross(), filled(make_block)
    for module in (attention, block):
        cut = module(X, CONTEXT[:, :3])
        np.testing.assert_allclose(module(X, CONTEXT, mask=present), cut, atol=1e-6)


def make_block():
    return CrossBlock(8, context_width=6, mlp_dim=16, num_heads=2, depth=2, rngs=nnx.Rngs(0))


def test_the_result_may_have_another_width():
    assert cross(out_width=10)(X, CONTEXT).shape == (2, 3, 10)


def test_queries_read_a_sequence_in_any_order():
    pool = filled(lambda: QueryPool(6, width=8, num_queries=4, num_heads=2, rngs=nnx.Rngs(0)))
    found = pool(CONTEXT)
    assert found.shape == (2, 4, 8)
    np.testing.assert_allclose(pool(CONTEXT[:, ::-1]), found, atol=1e-6)


def two_pools(*, cascade):
    sizes = dict(width=8, num_queries=4, num_heads=2, cascade=cascade)
    return filled(lambda: TwoQueryPools(6, **sizes, rngs=nnx.Rngs(0)))


def by_hand(pool, context):
    """A pooler as the paper describes it, in numpy: an attention with learned queries."""

    def array(param):
        return np.asarray(param[...], np.float64)

    def norm(module, x):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
        return x * array(module.scale) + array(module.bias)

    def linear(module, x):
        return x @ array(module.kernel) + array(module.bias)

    query = linear(pool.attention.query, norm(pool.norm_query, array(pool.queries)))
    key, value = np.split(linear(pool.attention.key_value, norm(pool.norm_context, context)), 2, -1)
    heads = []
    for at in (slice(0, 4), slice(4, 8)):
        weight = np.exp(query[:, at] @ key[..., at].swapaxes(1, 2) / 2)
        heads.append(weight / weight.sum(-1, keepdims=True) @ value[..., at])
    return linear(pool.attention.out, np.concatenate(heads, -1))


@pytest.mark.parametrize("cascade", [True, False], ids=["cascade", "parallel"])
def test_one_query_reads_what_the_others_found_or_beside_them_the_sequence(cascade):
    pools, context = two_pools(cascade=cascade), np.asarray(CONTEXT, np.float64)
    if not cascade:
        assert pools.contrastive.norm_context.scale.shape == (6,)
    found = by_hand(pools.generative, context)
    one = by_hand(pools.contrastive, found if cascade else context)
    want = np.concatenate([one, found], axis=1)
    assert want.shape == (2, 5, 8)
    np.testing.assert_allclose(pools(CONTEXT), want, atol=1e-5)


def decoder(**kwargs):
    sizes = dict(context_width=6, mlp_dim=16, num_heads=2)
    return filled(lambda: DecoderStack(8, 3, **sizes, **kwargs, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("mlp_between", [True, False])
def test_a_stack_is_its_layers_one_after_the_other(mlp_between):
    stack = decoder(mlp_between=mlp_between)
    graphdef, layers = nnx.split(stack.blocks)
    x = X
    for i in range(3):
        layer = nnx.merge(graphdef, jax.tree.map(lambda leaf, i=i: leaf[i], layers))
        x = layer.cross(layer.own(x), CONTEXT)
    np.testing.assert_allclose(stack(X, CONTEXT), x, atol=1e-5)


def test_without_a_perceptron_between_a_layer_is_as_with_one_that_adds_nothing():
    whole, less = decoder(), decoder(mlp_between=False)
    params = nnx.to_pure_dict(nnx.state(whole))
    down = params["blocks"]["own"]["mlp"]["down"]
    down.update({name: jnp.zeros_like(array) for name, array in down.items()})
    silent = nnx.merge(nnx.split(whole)[0], params)
    for name in ("mlp", "norm2"):
        del params["blocks"]["own"][name]
    less = nnx.merge(nnx.split(less)[0], params)
    np.testing.assert_allclose(less(X, CONTEXT), silent(X, CONTEXT), atol=1e-6)
    assert float(jnp.abs(whole(X, CONTEXT) - silent(X, CONTEXT)).max()) > 0.1


def test_recomputing_and_unrolling_change_neither_values_nor_gradients():
    def outcome(**kwargs):
        graphdef, params = nnx.split(decoder(**kwargs))

        def total(params, context):
            return jnp.sum(nnx.merge(graphdef, params)(X, context) ** 2)

        value, grads = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(params, CONTEXT)
        return jax.tree.leaves((value, grads))

    for got, want in zip(outcome(remat="dots", unroll=3), outcome(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())
