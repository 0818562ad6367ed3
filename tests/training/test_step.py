"""One step: what it computes, what it skips, what it leaves alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util
from toy import COUNTING, Toy, ToyClip, contrast, device_batch, make_toy_training

from vlp.objectives import Losses, Momentum, Term
from vlp.training.state import abstract_model
from vlp.training.step import BY_ARRAY, logged, total, weighted_mean


def host(tree):
    return jax.tree.map(np.array, tree)


def white(batch):
    return batch | {"image": np.full_like(batch["image"], 255)}


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_loss_and_gradient_norms_are_those_of_the_weighted_mean(training):
    state = training.init()
    graphdef, params = training.recipe.graphdef, state.params
    batch = device_batch(1)

    def mean(params):
        key = jax.random.fold_in(jax.random.key(0), 0)
        losses, _ = contrast(nnx.merge(graphdef, params), batch, key=key)
        return jnp.sum(losses * batch["weight"]) / jnp.sum(batch["weight"])

    value, grads = jax.jit(jax.value_and_grad(mean))(params)
    _, metrics = training.step(state, batch)
    norms = [np.linalg.norm(g) for g in jax.tree.leaves(grads)]
    np.testing.assert_allclose(metrics["train/loss"], value, rtol=1e-6)
    np.testing.assert_allclose(metrics[BY_ARRAY], norms, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(metrics["grad/l2"], np.linalg.norm(norms), rtol=1e-5)
    assert training.gradient_names == (
        "image/blocks/kernel",
        "image/embed/bias",
        "image/embed/kernel",
        "log_scale",
        "text/tokens",
    )
    assert metrics["train/pairs"] == batch["weight"].sum()
    assert metrics["train/scale"] == pytest.approx(np.exp(1.0))
    np.testing.assert_allclose(metrics["train/rows"], metrics["train/loss"], rtol=1e-6)


def test_the_weighted_mean_ignores_what_has_no_weight():
    values = jnp.asarray([1.0, 5.0, jnp.nan, jnp.inf])
    assert weighted_mean(values, jnp.asarray([1.0, 3.0, 0.0, 0.0])) == 4.0
    assert weighted_mean(values, jnp.zeros(4)) == 0.0


def test_both_averages_move_with_their_own_decay_from_a_short_beginning(training):
    state = training.init()
    slow = {name: host(getattr(state, name)) for name in ("averaged", "momentum")}
    for tree in slow.values():
        assert_same(tree, host(state.params))
    state = dataclasses.replace(state, step=jnp.int32(40))  # where the decays differ
    for step in range(40, 43):
        state, _ = training.step(state, device_batch(step))
        params, begun = host(state.params), (1 + step) / (10 + step)
        for name, most in (("averaged", 0.9), ("momentum", 0.8)):
            d = min(most, begun)
            want = jax.tree.map(lambda t, p, d=d: d * t + (1 - d) * p, slow[name], params)
            slow[name] = host(getattr(state, name))
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
                slow[name],
                want,
            )


def test_an_average_begins_short(training):
    state, _ = training.step(training.init(), device_batch(0))
    start, params = host(training.init().params), host(state.params)
    want = jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, start, params)
    for slow in (state.averaged, state.momentum):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), host(slow), want
        )


def test_a_step_that_is_not_finite_changes_nothing_but_the_step(training):
    state, _ = training.step(training.init(), device_batch(1))
    before = host(state)
    state, metrics = training.step(state, white(device_batch(2)))
    assert (metrics["train/skipped"], metrics["update/l2"]) == (1.0, 0.0)
    assert not np.isfinite(metrics["grad/l2"])
    assert int(state.step) == 2 and float(state.carry) == 1.0
    for part in ("params", "opt_state", "averaged", "momentum", "carry"):
        assert_same(host(getattr(state, part)), getattr(before, part))
    state, metrics = training.step(state, device_batch(3))
    assert metrics["train/skipped"] == 0.0 and metrics["update/l2"] > 0
    assert int(state.step) == 3 and float(state.carry) == 2.0
    # The third step's learning rate, although only two updates were made.
    assert metrics["train/lr"] == training_rate(2)


def training_rate(step):
    from vlp.training.optim.schedules import make_schedule

    return np.asarray(make_schedule("cosine", peak=1e-2, steps=20, warmup=2)(step))


def test_a_frozen_tower_stays_to_the_bit_without_optimiser_state_and_the_average_follows():
    training = make_toy_training(freeze=["image/.*"], ema_decay=0.75, ema_warmup=False)
    state = training.init()
    before = host(state)
    for step in range(3):
        slow = host(state.averaged)
        state, _ = training.step(state, device_batch(step))
    assert_same(host(state.params["image"]), before.params["image"])
    assert_same(host(state.averaged["image"]), before.params["image"])
    tokens = np.asarray(state.params["text"]["tokens"])
    assert not np.array_equal(tokens, before.params["text"]["tokens"])
    np.testing.assert_allclose(
        state.averaged["text"]["tokens"], 0.75 * slow["text"]["tokens"] + 0.25 * tokens, rtol=1e-5
    )
    moments = state.opt_state[1].mu
    assert set(traverse_util.flatten_dict(moments, sep="/")) == {"text/tokens", "log_scale"}
    assert training.gradient_names == ("log_scale", "text/tokens")


@pytest.mark.parametrize(
    ("patterns", "remedy"),
    [
        (["imge/.*"], 'begin with image, log_scale, text; did you mean "image/'),
        (["image"], "at least one whole name, got 'image'"),
        (["image/("], "patterns of parameters must be regular expressions, got 'image/\\('"),
        ([".*"], "leave something to train"),
    ],
)
def test_patterns_that_freeze_nothing_or_all_are_refused(patterns, remedy):
    with pytest.raises(ValueError, match=remedy):
        make_toy_training(freeze=patterns)


def test_training_may_begin_with_parts_of_another_run(training):
    tokens = np.arange(32 * 16, dtype=np.float32).reshape(32, 16)
    fresh, begun = training.init(), training.init({"text": {"tokens": tokens}})
    np.testing.assert_array_equal(begun.params["text"]["tokens"], tokens)
    np.testing.assert_array_equal(begun.averaged["text"]["tokens"], tokens)
    assert_same(host(begun.params["image"]), host(fresh.params["image"]))
    with pytest.raises(ValueError, match="text/words; the model's names begin with image, log_"):
        training.init({"text": {"words": tokens}})
    with pytest.raises(ValueError, match=r"got \(2, 2\) for text/tokens, which has \(32, 16\)"):
        training.init({"text": {"tokens": tokens[:2, :2]}})


def test_the_seed_decides_parameters_and_the_randomness_of_every_step(training):
    other = make_toy_training(seed=1, ema_decay=0.9)
    first, second = training.init(), other.init()
    assert not np.array_equal(first.params["text"]["tokens"], second.params["text"]["tokens"])
    _, here = training.step(first, device_batch(1))
    _, there = other.step(other.init(host(training.init().params)), device_batch(1))
    assert here["train/loss"] != there["train/loss"]


def test_models_with_state_besides_parameters_are_refused():
    class Stateful(Toy):
        def __init__(self, rngs):
            super().__init__(rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

    with pytest.raises(ValueError, match="nothing but parameters .*dropout"):
        abstract_model(lambda rngs: Stateful(rngs))


def test_another_stage_goes_on_with_the_same_state(training):
    class Halved(ToyClip):
        def __call__(self, ctx):
            losses = super().__call__(ctx)
            return losses._replace(terms={"half": losses.terms["contrastive"]._replace(weight=0.5)})

    batch = device_batch(1)
    _, whole = training.step(training.init(), batch)
    halved = Halved(carries=True, momentum=COUNTING.momentum)
    _, half = training.with_objective(halved).step(training.init(), batch)
    np.testing.assert_allclose(half["train/loss"] * 2, whole["train/loss"], rtol=1e-6)


def test_the_momentum_is_handed_to_the_objective():
    class Near(ToyClip):
        def __call__(self, ctx):
            losses = super().__call__(ctx)
            gap = ctx.model.encode_text(ctx.batch["text"])
            gap -= ctx.momentum.encode_text(ctx.batch["text"])
            near = Term(jnp.sum(gap * gap, axis=-1))
            return losses._replace(
                terms={**losses.terms, "near": near}, metrics={"gap": jnp.sum(gap * gap)}
            )

    training = make_toy_training(objective=Near(momentum=Momentum(0.9)))
    state, metrics = training.step(training.init(), device_batch(1))
    assert metrics["train/gap"] < 1e-12
    _, metrics = training.step(state, device_batch(2))
    assert metrics["train/gap"] > 1e-6


@pytest.mark.parametrize("decay", [-1.0, 0.0, 1.0, 1.5])
def test_a_decay_that_makes_no_average_is_refused(decay):
    with pytest.raises(ValueError, match=f"ema_decay must be between 0 and 1, got {decay}"):
        make_toy_training(ema_decay=decay)
    with pytest.raises(ValueError, match=f"momentum_decay must be between 0 and 1, got {decay}"):
        make_toy_training(objective=ToyClip(momentum=Momentum(decay)))


def test_terms_of_all_rows_share_a_mean_and_terms_of_some_have_their_own():
    values = jnp.asarray([1.0, 2.0, 4.0, jnp.nan])
    weight = jnp.asarray([1.0, 1.0, 2.0, 0.0])
    some = Term(values, 0.5, rows=jnp.asarray([False, True, True, True]))
    losses = Losses({"a": Term(values), "b": Term(2 * values, 3.0), "c": some})
    want = 7 * (1 + 2 + 8) / 4 + 0.5 * (2 + 8) / 3
    np.testing.assert_allclose(total(losses, weight), want, rtol=1e-6)
    means = logged(losses, weight)
    np.testing.assert_allclose(means["train/b_loss"], 2 * 11 / 4, rtol=1e-6)
    np.testing.assert_allclose(means["train/c_loss"], 10 / 3, rtol=1e-6)
    none = Losses({"c": some._replace(rows=jnp.zeros(4, bool))})
    assert total(none, weight) == 0


def test_frozen_models_reach_the_objective_and_never_change():
    class FromTeacher(ToyClip):
        def __call__(self, ctx):
            target = ctx.frozen["teacher"].encode_text(ctx.batch["text"])
            gap = ctx.model.encode_text(ctx.batch["text"]) - target
            return Losses({"gap": Term(jnp.sum(gap * gap, axis=-1))})

    graphdef, shapes = abstract_model(Toy)
    training = make_toy_training(objective=FromTeacher(), frozen={"teacher": (graphdef, shapes)})
    teacher = host(nnx.to_pure_dict(nnx.state(Toy(nnx.Rngs(7)))))
    ready = training.with_frozen({"teacher": teacher})
    state, before = ready.init(), training.init()
    losses = []
    for _ in range(20):
        state, metrics = ready.step(state, device_batch(1))
        losses.append(float(metrics["train/loss"]))
    assert losses[-1] < 0.9 * losses[0]
    assert_same(host(ready.frozen["teacher"]), teacher)
    assert jax.tree.structure(state) == jax.tree.structure(before)  # nothing of it is kept
    with pytest.raises(ValueError, match="teacher must have all its parameters, lacks text/tokens"):
        training.with_frozen({"teacher": {k: v for k, v in teacher.items() if k != "text"}})
