"""Updates against numpy, and what each parameter is spared."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from vlp.training.optim.optimizers import OPTIMIZERS, decays, make_optimizer

DECAYED = {
    "image/patches/linear/kernel",
    "image/stack/blocks/mlp/up/kernel",
    "image_projection/kernel",
    "text/tokens",
}
SPARED = {
    "image/class_token",
    "image/positions",
    "image/patches/linear/bias",
    "image/stack/blocks/mlp/up/bias",
    "image/stack/blocks/norm1/scale",
    "image/norm/scale",
    "text/positions",
    "log_scale",
    "bias",
}


def tree(*, seed=0):
    """Parameters named and stacked as those of a dual encoder."""
    rng = np.random.default_rng(seed)
    shapes = {name: (6, 8) for name in sorted(DECAYED | {"image/positions", "text/positions"})}
    shapes |= {name: (8,) for name in sorted(SPARED - set(shapes))} | {"log_scale": (), "bias": ()}
    shapes |= {"image/stack/blocks/mlp/up/kernel": (3, 6, 8)}
    shapes |= {name: (3, 8) for name in SPARED if "/blocks/" in name}
    flat = {n: jnp.asarray(rng.standard_normal(s), jnp.float32) for n, s in shapes.items()}
    return traverse_util.unflatten_dict(flat, sep="/")


def flat(params):
    return traverse_util.flatten_dict(params, sep="/")


def first_update(optimizer, params, grads):
    def update(params, grads):
        return optimizer.update(grads, optimizer.init(params), params, step=0)[0]

    return jax.jit(update)(params, grads)


def constant(rate):
    return lambda step: jnp.asarray(rate, jnp.float32)


def test_only_matrices_and_word_vectors_decay_stacked_or_not():
    got = {name for name, decay in flat(decays(tree())).items() if decay}
    assert got == DECAYED


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_a_gradient_of_zero_only_decay_moves_parameters(name):
    params = tree()
    optimizer = make_optimizer(name, schedule=constant(0.1), weight_decay=0.5)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates = first_update(optimizer, params, zeros)
    for leaf, update in flat(updates).items():
        want = -0.05 * flat(params)[leaf] if leaf in DECAYED else 0.0
        np.testing.assert_allclose(update, want, rtol=1e-6, atol=1e-8, err_msg=leaf)


def test_adamw_follows_its_formula():
    params, grads = tree(), [tree(seed=1), tree(seed=2)]
    optimizer = make_optimizer(
        schedule=lambda step: 0.1 / (step + 1.0), weight_decay=0.2, clip_norm=None, b1=0.8, b2=0.9
    )
    state, start = optimizer.init(params), flat(params)
    for step, grad in enumerate(grads):
        updates, state = optimizer.update(grad, state, params, step=jnp.float32(step))
        params = jax.tree.map(jnp.add, params, updates)
    for name, want in start.items():
        want, m, v = np.asarray(want, np.float64), 0.0, 0.0
        for step, grad in enumerate(grads):
            g = np.asarray(flat(grad)[name], np.float64)
            m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
            direction = m / (1 - 0.8 ** (step + 1)) / (np.sqrt(v / (1 - 0.9 ** (step + 1))) + 1e-8)
            want = want - 0.1 / (step + 1) * (direction + 0.2 * want * (name in DECAYED))
        np.testing.assert_allclose(flat(params)[name], want, rtol=1e-4, atol=1e-5, err_msg=name)


def test_lion_steps_by_the_sign():
    params, grad = tree(), tree(seed=1)
    optimizer = make_optimizer("lion", schedule=constant(0.1))
    updates = first_update(optimizer, params, grad)
    for name, update in flat(updates).items():
        np.testing.assert_allclose(update, -0.1 * np.sign(flat(grad)[name]), rtol=1e-6)


@pytest.mark.parametrize("b2", [1.0, 0.5])
def test_adafactor_follows_its_formula_and_its_second_decay_stops_growing_at_b2(b2):
    grads = [jnp.asarray(np.random.default_rng(i).standard_normal(8), jnp.float32) for i in (1, 2)]
    grads += [10 * grads[0], grads[1]]  # in the third update the unlimited decay is 0.58
    params = {"norm": {"scale": grads[0]}}
    optimizer = make_optimizer(
        "adafactor", schedule=constant(0.1), clip_norm=None, b1=0.0, b2=b2, clip_rms=1e9
    )
    state, second = optimizer.init(params), 0.0
    for t, grad in enumerate(grads, start=1):
        updates, state = optimizer.update({"norm": {"scale": grad}}, state, params, step=t)
        decay = min(1 - t**-0.8, b2)
        second = decay * second + (1 - decay) * np.square(np.asarray(grad, np.float64))
        want = -0.1 * np.asarray(grad) / np.sqrt(second)
        np.testing.assert_allclose(updates["norm"]["scale"], want, rtol=1e-5)


def test_muon_orthogonalises_each_layer_of_a_stack_on_its_own():
    params, grad = tree(), tree(seed=1)
    optimizer = make_optimizer("muon", schedule=constant(1.0), clip_norm=None, rms=0.2)
    updates = first_update(optimizer, params, grad)
    stacked = np.asarray(updates["image"]["stack"]["blocks"]["mlp"]["up"]["kernel"])
    grads = np.asarray(grad["image"]["stack"]["blocks"]["mlp"]["up"]["kernel"])
    for layer, raw in zip(stacked, grads, strict=True):
        u, _, vt = np.linalg.svd(raw, full_matrices=False)
        # Muon's five iterations bring singular values near 1, not to 1.
        inner = u.T @ (-layer / (0.2 * np.sqrt(8))) @ vt.T
        np.testing.assert_allclose(np.diag(inner), 1.0, atol=0.35)
        np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-3)
    adam = make_optimizer("adamw", schedule=constant(1.0), clip_norm=None)
    want = first_update(adam, params, grad)
    for name in set(flat(params)) - {"image/stack/blocks/mlp/up/kernel"}:
        np.testing.assert_allclose(flat(updates)[name], flat(want)[name], rtol=1e-6, err_msg=name)


def test_gradients_are_clipped_by_their_norm_together():
    params, grad = tree(), tree(seed=1)
    optimizer = make_optimizer("lion", schedule=constant(1.0), clip_norm=0.5, b1=0.0)
    state = jax.jit(lambda p, g: optimizer.update(g, optimizer.init(p), p, step=0)[1])(params, grad)
    mu = optax.tree.get(state, "mu")
    scale = 0.5 / np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(grad)))
    for name, moment in flat(mu).items():
        np.testing.assert_allclose(moment, 0.01 * scale * flat(grad)[name], rtol=1e-4)


def size_of(state):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(state) if leaf.ndim)


@pytest.mark.parametrize(("name", "share"), [("adamw", 0.75), ("lion", 0.5), ("muon", None)])
def test_first_moments_may_take_half_the_memory_and_are_rounded_by_no_more(name, share):
    params, grads = tree(), [tree(seed=seed) for seed in (1, 2, 3)]
    moments, sizes = {}, {}
    for dtype in ("float32", "bfloat16"):
        optimizer = make_optimizer(name, schedule=constant(0.1), mu_dtype=dtype)
        update = jax.jit(lambda g, state, make=optimizer: make.update(g, state, params, step=0)[1])
        state = optimizer.init(params)
        sizes[dtype] = size_of(state)
        moments[dtype] = []
        for grad in grads:
            state = update(grad, state)
            mu = [mu for _, mu in optax.tree.get_all_with_path(state, "mu")]
            moments[dtype].append(jax.tree.leaves(mu))
        assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(
            lambda x: x.dtype, optimizer.init(params)
        )
    assert {leaf.dtype for leaf in moments["bfloat16"][-1]} == {jnp.dtype("bfloat16")}
    roundings_a_step, half_an_ulp = 2, 2.0**-8  # the decayed moment, and its sum with the gradient
    for low, *full in zip(moments["bfloat16"][-1], *moments["float32"], strict=True):
        largest = roundings_a_step * half_an_ulp * sum(np.abs(mu) for mu in full)
        assert np.all(np.abs(low.astype(jnp.float32) - full[-1]) <= largest)
    assert sizes["bfloat16"] < sizes["float32"]
    assert share is None or sizes["bfloat16"] == share * sizes["float32"]


def test_unknown_names_and_settings_are_refused():
    with pytest.raises(ValueError, match="one of adamw, lion, adafactor, muon, got sgd"):
        make_optimizer("sgd", schedule=constant(1.0))
    with pytest.raises(TypeError, match="eps"):
        make_optimizer("lion", schedule=constant(1.0), eps=1e-6)
    with pytest.raises(ValueError, match="mu_dtype must be one of float32, bfloat16, got 'int8'"):
        make_optimizer("lion", schedule=constant(1.0), mu_dtype="int8")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(weight_decay=-1.0), "weight_decay must be from 0 to inf, got -1"),
        (dict(clip_norm=0.0), "clip_norm must be above 0, got 0"),
        (dict(b2=1.5), "b2 must be from 0 to 1, got 1.5"),
        (dict(eps=-1e-8), "eps must be from 0"),
        (dict(eps=0.0), "eps must be above 0"),
    ],
)
def test_numbers_with_which_nothing_goes_downhill_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        make_optimizer("adamw", schedule=lambda step: step, **settings)
