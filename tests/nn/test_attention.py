import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vlp.nn.attention import SelfAttention, attention_mask, dot_product_attention

N, L, H, K = 2, 5, 3, 4


def qkv(dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(3, N, L, H, K)), dtype)


def reference(query, key, value, mask):
    out = np.zeros((N, L, H, K))
    for n, h, q in np.ndindex(N, H, L):
        logits = np.array([query[n, q, h] @ key[n, s, h] / np.sqrt(K) for s in range(L)])
        weights = np.where(mask[n, q], np.exp(logits), 0)
        out[n, q, h] = weights @ value[n, :, h] / weights.sum()
    return out


def masks():
    present = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    causal = np.tril(np.ones((N, L, L), bool))
    return {
        "none": (False, None, np.ones((N, L, L), bool)),
        "causal": (True, None, causal),
        "padding": (False, present, np.broadcast_to(present[:, None], (N, L, L))),
        "both": (True, present, causal & present[:, None]),
    }


@pytest.mark.parametrize("implementation", ["einsum", "xla"])
@pytest.mark.parametrize("name", masks())
def test_attention_is_that_of_the_definition_under_every_mask(name, implementation):
    causal, present, allowed = masks()[name]
    query, key, value = qkv()
    mask = attention_mask(
        L, causal=causal, present=None if present is None else jnp.asarray(present)
    )
    got = dot_product_attention(query, key, value, mask=mask, implementation=implementation)
    want = reference(*np.asarray(qkv(), np.float64), allowed)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_bfloat16_attention_is_near_float32():
    exact = dot_product_attention(*qkv())
    near = dot_product_attention(*qkv(jnp.bfloat16))
    assert near.dtype == jnp.bfloat16
    np.testing.assert_allclose(near.astype(jnp.float32), exact, atol=0.03)


def test_a_sequence_of_padding_alone_gives_finite_values_and_gradients():
    mask = attention_mask(L, causal=False, present=jnp.zeros((N, L), bool))
    value, gradient = jax.value_and_grad(
        lambda qkv: jnp.sum(dot_product_attention(*qkv, mask=mask))
    )(qkv())
    assert bool(jnp.isfinite(value)) and bool(jnp.all(jnp.isfinite(gradient)))


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
