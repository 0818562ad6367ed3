import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.nn.block import Block
from vlp.nn.stack import Stack

DEPTH, WIDTH = 3, 16
BLOCK = dict(mlp_dim=32, num_heads=2)


def make_stack(**kwargs):
    return filled(lambda: Stack(WIDTH, DEPTH, **BLOCK, **kwargs, rngs=nnx.Rngs(0)))


def tokens():
    return jnp.float32(np.random.default_rng(0).normal(size=(2, 5, WIDTH)))


def value_and_gradient(stack):
    graphdef, params = nnx.split(stack)

    def total(params):
        y = nnx.merge(graphdef, params)(tokens())
        return jnp.sum(jnp.sin(y)), y

    (_, y), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    return jax.tree.map(np.asarray, (y, nnx.as_pure(gradient)))


def blocks_of(stack):
    """The blocks one by one, as plain modules."""
    graphdef, params = nnx.split(stack.blocks)
    layers = [jax.tree.map(lambda x, i=i: x[i], params) for i in range(DEPTH)]
    return [nnx.merge(graphdef, layer) for layer in layers]


def test_a_stack_is_its_blocks_one_after_another():
    stack, x = make_stack(causal=True), tokens()
    for block in blocks_of(stack):
        assert isinstance(block, Block)
        x = block(x)
    np.testing.assert_allclose(stack(tokens()), x, atol=1e-5)


def test_every_parameter_has_a_leading_depth_axis_and_layers_differ():
    params = jax.tree.leaves(nnx.state(make_stack().blocks))
    assert all(leaf.shape[0] == DEPTH for leaf in params)
    kernel = Stack(WIDTH, DEPTH, **BLOCK, rngs=nnx.Rngs(0)).blocks.mlp.up.kernel[...]
    assert float(jnp.min(jnp.std(kernel[1:] - kernel[:1], axis=(1, 2)))) > 0.1


SETTINGS = [
    dict(unroll=2),
    dict(unroll=99),
    dict(remat="full"),
    dict(remat="full", unroll=3),
    dict(remat="dots"),
    dict(remat="offload"),
]


@pytest.fixture(scope="module")
def plain():
    return value_and_gradient(make_stack())


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_unrolling_and_recomputing_change_neither_values_nor_gradients(settings, plain):
    got = value_and_gradient(make_stack(**settings))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, plain)


def test_recomputing_everything_saves_the_inputs_of_blocks_only():
    def saved(remat):
        stack = make_stack(remat=remat)
        graphdef, params = nnx.split(stack)
        _, pullback = jax.vjp(lambda p: nnx.merge(graphdef, p)(tokens()), params)
        kept = sum(leaf.size for leaf in jax.tree.leaves(pullback))
        return kept - sum(leaf.size for leaf in jax.tree.leaves(params))

    assert saved("full") <= DEPTH * tokens().size < saved("dots") < saved("none")


def test_what_full_recomputation_keeps_may_wait_in_the_memory_of_the_host():
    graphdef, params = nnx.split(make_stack(remat="offload"))

    def total(params, x):
        return jnp.sum(nnx.merge(graphdef, params)(x))

    kept = str(jax.make_jaxpr(jax.grad(total))(params, tokens()))
    assert f"f32<host>[{DEPTH},{','.join(map(str, tokens().shape))}]" in kept


def test_hidden_states_are_the_input_and_each_block_s_output():
    stack, x = make_stack(), tokens()
    states = stack.hidden_states(x)
    assert states.shape == (DEPTH + 1, *x.shape)
    np.testing.assert_array_equal(states[0], x)
    np.testing.assert_allclose(states[-1], stack(x), atol=1e-5)
    np.testing.assert_allclose(states[2], blocks_of(stack)[1](states[1]), atol=1e-5)


def test_a_post_norm_block_normalises_each_sum():
    block = filled(lambda: Block(WIDTH, **BLOCK, depth=1, norm_order="post", rngs=nnx.Rngs(0)))
    x = block.norm1(tokens() + block.attention(tokens()))
    np.testing.assert_allclose(block(tokens()), block.norm2(x + block.mlp(x)), atol=1e-5)


def test_both_orders_have_the_same_parameters():
    pre, post = (nnx.as_pure(nnx.state(make_stack(norm_order=order))) for order in ("pre", "post"))
    assert jax.tree.structure(pre) == jax.tree.structure(post)


@pytest.mark.parametrize("order", ["pre", "post"])
def test_a_layer_scale_of_one_changes_nothing_and_of_zero_leaves_the_stream(order):
    kwargs = dict(BLOCK, depth=1, norm_order=order)
    scaled = filled(lambda: Block(WIDTH, **kwargs, layer_scale=0.1, rngs=nnx.Rngs(0)))
    plain = filled(lambda: Block(WIDTH, **kwargs, rngs=nnx.Rngs(0)))
    for name in ("norm1", "norm2", "attention", "mlp"):
        setattr(plain, name, getattr(scaled, name))
    for value in (1.0, 0.0):
        scaled.attention_scale[...] = jnp.full((WIDTH,), value)
        scaled.mlp_scale[...] = jnp.full((WIDTH,), value)
        still = tokens() if order == "pre" else plain.norm2(plain.norm1(tokens()))
        want = plain(tokens()) if value else still
        np.testing.assert_allclose(scaled(tokens()), want, atol=1e-5)


def test_layer_scales_start_where_asked():
    block = Block(WIDTH, **BLOCK, depth=1, layer_scale=1e-4, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(block.mlp_scale[...], np.full(WIDTH, 1e-4, np.float32))


def test_the_residual_stream_does_not_grow_with_depth():
    deep = Stack(WIDTH, 24, **BLOCK, rngs=nnx.Rngs(0))
    x = tokens()
    assert float(jnp.std(deep(x))) < 1.5


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="remat must be one of none, full, dots, offload"):
        make_stack(remat="all")
    with pytest.raises(ValueError, match="norm_order must be one of pre, post, got 'both'"):
        make_stack(norm_order="both")
    with pytest.raises(ValueError, match="at least 1, got 3 and 0"):
        make_stack(unroll=0)
