import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.machines import machine
from vlp.nn.attention import SelfAttention, dot_product_attention
from vlp.nn.implementation import Needs, chosen

N, L, H, K = 2, 5, 3, 8
PLATFORMS = {"einsum": "cpu", "xla": "cpu", "splash": "tpu"}


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


@pytest.mark.parametrize("implementation", PLATFORMS)
@pytest.mark.parametrize("name", masks())
def test_attention_and_its_gradient_are_those_of_the_definition_under_every_mask(
    name, implementation, interpreted
):
    causal, mask, allowed = masks()[name]
    mask = None if mask is None else jnp.asarray(mask)
    settings = dict(mask=mask, causal=causal, implementation=implementation)
    with machine(PLATFORMS[implementation]):
        got = value_and_gradient(lambda *qkv: dot_product_attention(*qkv, **settings))
    by_pairs = mask is not None and mask.ndim == 4
    assert bool(interpreted) == (implementation == "splash" and not by_pairs)
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


@pytest.mark.parametrize("implementation", ("einsum", "xla"))
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


@pytest.mark.parametrize("form", ("keys", "lengths"))
def test_a_query_that_sees_no_key_gets_finite_gradients_by_splash_too(form, interpreted):
    settings = dict(mask=BLIND[form], implementation="splash")
    with machine("tpu"):
        y, gradient = value_and_gradient(lambda *qkv: dot_product_attention(*qkv, **settings))
    assert interpreted and bool(jnp.all(jnp.isfinite(y)) & jnp.all(jnp.isfinite(gradient)))


@pytest.mark.parametrize("length", (128, 130, 257))
def test_splash_attention_takes_any_length(length, interpreted):
    shape = (3, 1, length, 2, 8)
    query, key, value = jnp.float32(np.random.default_rng(0).normal(size=shape))
    for causal, more in ((True, 0), (False, 7)):  # to another sequence too
        parts = query, jnp.pad(key, more_rows(more)), jnp.pad(value, more_rows(more))
        settings = dict(causal=causal, mask=jnp.array([length - 3]))
        want = dot_product_attention(*parts, **settings)
        with machine("tpu"):
            got = dot_product_attention(*parts, **settings, implementation="splash")
        np.testing.assert_allclose(got, want, atol=1e-5)
    assert len(interpreted) == 2


def more_rows(count):
    return ((0, 0), (0, count), (0, 0), (0, 0))


@pytest.fixture
def told(monkeypatch):
    """What `jax.nn` is told, call by call."""
    calls = []

    def record(query, key, value, **settings):
        calls.append(settings | dict(shapes=(query.shape, key.shape, value.shape)))
        with jax.numpy_dtype_promotion("standard"):  # it is not strict with itself
            return flash(query, key, value, **settings | dict(implementation="xla"))

    flash = jax.nn.dot_product_attention
    monkeypatch.setattr(jax.nn, "dot_product_attention", record)
    return calls


def by_cudnn(**settings):
    """What it would give, of half the numbers' digits, and the plain form's."""
    low = qkv(jnp.bfloat16)
    with machine("gpu"):
        got = dot_product_attention(*low, **settings, implementation="cudnn")
    want = dot_product_attention(*low, **settings)
    np.testing.assert_allclose(got.astype(jnp.float32), want.astype(jnp.float32), atol=0.03)


def test_cudnn_is_told_of_causality_and_lengths_as_such_and_of_even_numbers_of_tokens(told):
    by_cudnn(mask=jnp.array([3, 5]), causal=True)
    by_cudnn(causal=True)
    by_cudnn()
    lengths = [call["key_value_seq_lengths"] for call in told]
    assert [call["is_causal"] for call in told] == [True, True, False]
    assert all(call["mask"] is None for call in told)
    assert lengths[0].dtype == jnp.int32 and lengths[0].tolist() == [3, 5]
    assert lengths[1] is None  # the sixth key is behind all queries
    assert lengths[2].tolist() == [5, 5]
    assert {shape[1] for call in told for shape in call["shapes"]} == {6}


def test_cudnn_leaves_no_row_without_a_key(told):
    with machine("gpu"):
        settings = dict(mask=jnp.array([0, 5]), implementation="cudnn")
        dot_product_attention(*qkv(jnp.bfloat16), **settings)
    assert told[0]["key_value_seq_lengths"].tolist() == [1, 5]


def test_cudnn_gets_other_masks_at_their_full_size(told):
    for name in ("keys", "pairs", "pairs alike in all rows", "keys of all rows"):
        by_cudnn(mask=jnp.asarray(masks()[name][1]))
    assert [call["mask"].shape for call in told] == [(N, 1, 6, 6)] * 2 + [(1, 1, 6, 6)] * 2
    assert not any(call["is_causal"] for call in told)


def test_cudnn_takes_a_bias_in_the_dtype_of_the_products(told):
    bias = jnp.float32(np.random.default_rng(4).normal(size=(H, L, L)))
    by_cudnn(bias=bias)
    assert told[0]["bias"].shape == (1, H, 6, 6) and told[0]["bias"].dtype == jnp.bfloat16
    assert told[0]["key_value_seq_lengths"].tolist() == [5, 5]


def needs(**other):
    return Needs(**dict(queries=L, head_width=64, dtype="bfloat16") | other)


@pytest.mark.parametrize(
    ("platform", "other", "want"),
    [
        ("cpu", {}, "einsum"),
        ("tpu", {}, "einsum"),
        ("gpu", {}, "cudnn"),
        ("gpu", dict(dtype="float32"), "einsum"),
        ("gpu", dict(queries=1), "einsum"),
        ("gpu", dict(head_width=132), "einsum"),
        ("gpu", dict(head_width=88), "cudnn"),
        ("gpu", dict(pairs=True, bias=True), "cudnn"),
    ],
)
def test_auto_goes_by_the_devices_and_by_what_a_layer_needs_without_a_word(
    platform, other, want, words
):
    with machine(platform):
        assert chosen("auto", needs(**other)) == want
    assert words.messages == []


@pytest.mark.parametrize(
    ("implementation", "platform", "other", "why"),
    [
        ("cudnn", "cpu", {}, "is for GPUs, not for cpu"),
        ("splash", "gpu", {}, "is for TPUs, not for gpu"),
        ("splash", "tpu", dict(pairs=True), "takes no mask of pairs"),
        ("splash", "tpu", dict(bias=True), "takes no bias"),
        (
            "cudnn",
            "gpu",
            dict(head_width=132),
            "is for heads of 8, 16, ... 128 numbers, not for 132",
        ),
        ("cudnn", "gpu", dict(dtype="float32"), "is for bfloat16 and float16, not for float32"),
    ],
)
def test_what_an_implementation_cannot_do_the_plain_form_does_and_it_is_said_once(
    implementation, platform, other, why, words
):
    with machine(platform):
        assert {chosen(implementation, needs(**other)) for _ in range(2)} == {"einsum"}
    assert words.messages == [f'attention "{implementation}" {why}: "einsum" takes its place there']


def test_a_causal_layer_is_one_with_a_triangular_mask():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(N, L, H * K)), jnp.float32)
    causal, free = (
        SelfAttention(H * K, H, causal=causal, out_std=0.3, rngs=nnx.Rngs(0))
        for causal in (True, False)
    )
    triangle = jnp.tril(jnp.ones((1, 1, L, L), bool))
    np.testing.assert_array_equal(causal(x), free(x, mask=triangle))


def test_the_fused_projection_holds_query_key_and_value_in_this_order():
    layer = SelfAttention(H * K, H, out_std=0.3, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(N, L, H * K)), jnp.float32)
    kernel = layer.qkv.kernel[...]
    parts = (jnp.einsum("nlw,wo->nlo", x, kernel[:, H * K * i : H * K * (i + 1)]) for i in range(3))
    y = dot_product_attention(*(part.reshape(N, L, H, K) for part in parts)).reshape(N, L, H * K)
    want = jnp.einsum("nlw,wo->nlo", y, layer.out.kernel[...])
    np.testing.assert_allclose(layer(x), want, atol=1e-6)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="num_heads must divide width 64, got 5; try one of"):
        SelfAttention(64, 5, out_std=1.0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="attention must be one of auto, einsum, xla, cudnn"):
        SelfAttention(64, 4, implementation="flash", out_std=1.0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match='"cudnn" needs a dtype of bfloat16, .* got float32; set'):
        SelfAttention(64, 4, implementation="cudnn", out_std=1.0, rngs=nnx.Rngs(0))
