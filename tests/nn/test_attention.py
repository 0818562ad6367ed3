import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vlp.nn.attention import SelfAttention, dot_product_attention

N, L, H, K = 2, 5, 3, 4
IMPLEMENTATIONS = ("einsum", "xla")


def qkv(dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(3, N, L, H, K)), dtype)


def reference(query, key, value, allowed):
    """Attention with forbidden keys left out of the sums."""
    logits = jnp.einsum("nqhk,nshk->nhqs", query, key) / np.sqrt(K)
    weights = jnp.exp(logits) * jnp.asarray(allowed, jnp.float32)[:, None]
    weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
    return jnp.einsum("nhqs,nshk->nqhk", weights, value)


def masks():
    """Causality, a mask, and which key each query is allowed to see, `[n q s]`."""
    real = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    keys = np.broadcast_to(real[:, None], (N, L, L))
    causal = np.broadcast_to(np.tril(np.ones((L, L), bool)), (N, L, L))
    pairs = np.random.default_rng(3).random((N, L, L)) < 0.5
    pairs |= np.eye(L, dtype=bool)
    alike = np.broadcast_to(pairs[:1], (N, L, L))
    lengths = np.array([3, 5], np.int32)
    return {
        "none": (False, None, np.ones((N, L, L), bool)),
        "causal": (True, None, causal),
        "keys": (False, real, keys),
        "keys, causal": (True, real, causal & keys),
        "lengths": (False, lengths, keys),
        "lengths, causal": (True, lengths, causal & keys),
        "pairs": (False, pairs[:, None], pairs),
        "pairs, causal": (True, pairs[:, None], causal & pairs),
        "pairs alike in all rows": (False, pairs[:1, None], alike),
        "keys of all rows": (False, real[:1, None, None], np.broadcast_to(real[0], (N, L, L))),
    }


def value_and_gradient(function):
    def total(qkv):
        y = function(*qkv)
        return jnp.sum(jnp.sin(y)), y

    (_, y), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(qkv())
    return y, gradient


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", masks())
def test_attention_and_its_gradient_are_those_of_the_definition_under_every_mask(
    name, implementation
):
    causal, mask, allowed = masks()[name]
    mask = None if mask is None else jnp.asarray(mask)
    settings = dict(mask=mask, causal=causal, implementation=implementation)
    got = value_and_gradient(lambda *qkv: dot_product_attention(*qkv, **settings))
    want = value_and_gradient(lambda *qkv: reference(*qkv, allowed))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want)


def test_bfloat16_attention_is_near_float32():
    exact = dot_product_attention(*qkv())
    near = dot_product_attention(*qkv(jnp.bfloat16))
    assert near.dtype == jnp.bfloat16
    np.testing.assert_allclose(near.astype(jnp.float32), exact, atol=0.03)


BLIND = {
    "keys": jnp.zeros((N, L), bool),
    "lengths": jnp.zeros((N,), jnp.int32),
    "pairs": jnp.zeros((1, 1, L, 1), bool),
}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("form", BLIND)
def test_a_query_that_sees_no_key_gets_the_mean_of_all_values_and_finite_gradients(
    form, implementation
):
    settings = dict(mask=BLIND[form], implementation=implementation)
    y, gradient = value_and_gradient(lambda *qkv: dot_product_attention(*qkv, **settings))
    mean = jnp.mean(qkv()[2], axis=1, keepdims=True)
    np.testing.assert_allclose(y, jnp.broadcast_to(mean, y.shape), atol=1e-6)
    assert bool(jnp.all(jnp.isfinite(gradient)))
    np.testing.assert_array_equal(gradient[:2], 0)


@pytest.fixture
def told(monkeypatch):
    """What `jax.nn` is told, call by call."""
    calls = []

    def record(query, key, value, **settings):
        calls.append(settings)
        return query

    monkeypatch.setattr(jax.nn, "dot_product_attention", record)
    return calls


def test_flash_attention_is_told_of_causality_and_lengths_as_such(told):
    lengths = jnp.array([0, 5])
    dot_product_attention(*qkv(), mask=lengths, causal=True, implementation="cudnn")
    (call,) = told
    assert call["is_causal"] and call["mask"] is None
    assert call["key_value_seq_lengths"].dtype == jnp.int32
    # No row is left without a key: what the kernel gives there is nowhere promised.
    assert call["key_value_seq_lengths"].tolist() == [1, 5]


def test_flash_attention_gets_other_masks_at_their_full_size(told):
    for mask in (jnp.ones((N, L), bool), jnp.ones((1, 1, L, 1), bool)):
        dot_product_attention(*qkv(), mask=mask, implementation="cudnn")
    assert [call["mask"].shape for call in told] == [(N, 1, L, L), (1, 1, L, L)]
    assert not any(call["is_causal"] for call in told)


def test_a_causal_layer_is_one_with_a_triangular_mask():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(N, L, 12)), jnp.float32)
    causal, free = (
        SelfAttention(12, H, causal=causal, out_std=0.3, rngs=nnx.Rngs(0))
        for causal in (True, False)
    )
    triangle = jnp.tril(jnp.ones((1, 1, L, L), bool))
    np.testing.assert_array_equal(causal(x), free(x, mask=triangle))


def test_the_fused_projection_holds_query_key_and_value_in_this_order():
    layer = SelfAttention(12, H, out_std=0.3, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(N, L, 12)), jnp.float32)
    kernel = layer.qkv.kernel[...]
    parts = (jnp.einsum("nlw,wo->nlo", x, kernel[:, 12 * i : 12 * (i + 1)]) for i in range(3))
    y = dot_product_attention(*(part.reshape(N, L, H, K) for part in parts)).reshape(N, L, 12)
    want = jnp.einsum("nlw,wo->nlo", y, layer.out.kernel[...])
    np.testing.assert_allclose(layer(x), want, atol=1e-6)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="num_heads must divide width 64, got 5; try one of"):
        SelfAttention(64, 5, out_std=1.0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="attention must be one of einsum, xla, cudnn"):
        SelfAttention(64, 4, implementation="flash", out_std=1.0, rngs=nnx.Rngs(0))
