"""Multiway blocks: which tokens meet whose perceptron."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.nn.multiway import Multiway

WIDTH, DEPTH, FUSED, HEADS = 8, 3, 2, 2
close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)


def make(**settings):
    sizes = dict(num_heads=HEADS, fused_from=FUSED, mlp_ratio=2.0, layer_scale=0.1)
    return filled(lambda: Multiway(WIDTH, DEPTH, **(sizes | settings), rngs=nnx.Rngs(0)))


@functools.cache
def model():
    return make()


@functools.cache
def inputs():
    rng = np.random.default_rng(0)
    text, image = (rng.normal(size=(2, count, WIDTH)).astype(np.float32) for count in (4, 5))
    return text, image, np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)


MODES = {
    "text": lambda m, text, image, present: m.alone(text, expert="text", mask=present),
    "image": lambda m, text, image, present: m.alone(image, expert="image"),
    "branch": lambda m, text, image, present: m.above(
        m.below(image, expert="image"), expert="pair", modality="image"
    ),
    "pair": lambda m, text, image, present: jnp.concatenate(
        m.together(text, image, mask=present), axis=1
    ),
}


@functools.partial(jax.jit, static_argnames=("graphdef", "mode"))
def _run(graphdef, state, mode, *given):
    return MODES[mode](nnx.merge(graphdef, state), *given)


def run(module, mode, *given):
    return np.asarray(_run(*nnx.split(module), mode, *given))


def norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]


def linear(x, p):
    return x @ p["kernel"] + p["bias"]


def attention(x, p, present):
    query, key, value = np.split(linear(x, p["qkv"]), 3, axis=-1)
    out = np.empty_like(x)
    for head in np.split(np.arange(WIDTH), HEADS):
        logits = query[..., head] @ key[..., head].swapaxes(1, 2) / math.sqrt(len(head))
        weights = np.exp(logits - logits.max(-1, keepdims=True)) * present[:, None]
        out[..., head] = weights / weights.sum(-1, keepdims=True) @ value[..., head]
    return linear(out, p["out"])


def expert(x, p):
    up = linear(norm(x, p["norm"]), p["mlp"]["up"])
    return linear(0.5 * up * (1 + np.vectorize(math.erf)(up / math.sqrt(2))), p["mlp"]["down"])


def reference(x, experts_of_layers, present):
    """Layer by layer; an expert name a token."""
    params = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(nnx.state(model()))
    )
    for layer, names in enumerate(experts_of_layers):
        stack, i = ("lower", layer) if layer < FUSED else ("upper", layer - FUSED)
        p = jax.tree.map(lambda leaf, i=i: leaf[i], params[stack]["blocks"])
        x = x + p["attention_scale"] * attention(norm(x, p["norm"]), p["attention"], present)
        parts = [expert(x[:, t : t + 1], p[name]) for t, name in enumerate(names)]
        x = x + p["mlp_scale"] * np.concatenate(parts, axis=1)
    return norm(x, params["norm"])


@pytest.mark.parametrize("mode", MODES)
def test_every_way_equals_a_loop_over_layers_heads_and_tokens(mode):
    text, image, present = inputs()
    x, present, layers = {
        "text": (text, present, [["text"] * 4] * DEPTH),
        "image": (image, np.ones((2, 5), bool), [["image"] * 5] * DEPTH),
        "branch": (
            image, np.ones((2, 5), bool), [["image"] * 5] * FUSED + [["pair"] * 5] * (DEPTH - FUSED)
        ),
        "pair": (
            np.concatenate([text, image], axis=1),
            np.concatenate([present, np.ones((2, 5), bool)], axis=1),
            [["text"] * 4 + ["image"] * 5] * FUSED + [["pair"] * 9] * (DEPTH - FUSED),
        ),
    }[mode]  # fmt: skip
    close(run(model(), mode, *inputs()), reference(x, layers, present))


@pytest.mark.parametrize(
    ("mode", "unread"),
    [
        ("text", ("lower/image", "upper/image", "upper/pair")),
        ("image", ("lower/text", "upper/text", "upper/pair")),
        ("branch", ("lower/text", "upper/text", "upper/image")),
        ("pair", ("upper/text", "upper/image")),
    ],
)
def test_what_a_way_does_not_use_is_not_even_read(mode, unread):
    graphdef, state = nnx.split(model())

    def spoil(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/").replace("/blocks", "")
        return jnp.full_like(leaf, jnp.nan) if name.startswith(unread) else leaf

    spoilt = jax.tree_util.tree_map_with_path(spoil, state)
    assert any(np.isnan(leaf).any() for leaf in jax.tree.leaves(spoilt))
    np.testing.assert_array_equal(
        run(nnx.merge(graphdef, spoilt), mode, *inputs()), run(model(), mode, *inputs())
    )


def test_padding_of_the_text_changes_nothing_in_a_pair():
    text, image, present = inputs()
    other = np.where(present[..., None], text, 7.0).astype(np.float32)
    seen = np.concatenate([present, np.ones((2, 5), bool)], axis=1)
    close(run(model(), "pair", other, image, present)[seen], run(model(), "pair", *inputs())[seen])


def test_recomputing_and_unrolling_change_no_gradient():
    text, image, present = (jnp.asarray(x) for x in inputs())

    def gradient(module):
        graphdef, state = nnx.split(module)

        def total(state):
            both = nnx.merge(graphdef, state).together(text, image, mask=present)
            return sum(jnp.sum(x**3) for x in both)

        return jax.tree.leaves(jax.jit(jax.grad(total))(state))

    for got, want in zip(gradient(make(remat="full", unroll=2)), gradient(model()), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fused_from", [0, 3])
def test_both_kinds_of_blocks_must_be_there(fused_from):
    with pytest.raises(ValueError, match="fused_from must be at least 1 and less than depth 3"):
        make(fused_from=fused_from)
