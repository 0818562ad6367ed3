"""Groups of parameters: each learns as by an optimiser of its own with those settings."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util
from toy import device_batch, make_toy_training

from vlp.models.vit import VisionTransformer
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import put_batch
from vlp.training.checkpoint.checkpoints import Checkpoints
from vlp.training.optim.groups import Group, resolve
from vlp.training.optim.layers import layers_behind
from vlp.training.optim.optimizers import OPTIMIZERS, decays, make_optimizer
from vlp.training.params import by_path, leaf_names
from vlp.training.state import abstract_model

DEPTH = 3
SHAPES = {
    "image/patches/linear/kernel": (6, 8),
    "image/positions": (4, 8),
    "image/stack/blocks/mlp/up/kernel": (DEPTH, 8, 8),
    "image/stack/blocks/norm1/scale": (DEPTH, 8),
    "image/norm/scale": (8,),
    "image_projection/kernel": (8, 4),
    "text/tokens": (10, 8),
    "log_scale": (),
}
GROUPS = {
    "image": Group(pattern="image/.*", layer_decay=0.7, weight_decay=0.4),
    "head": Group(pattern=("image_projection/.*", "image/norm/.*"), multiplier=5.0),
    "words": Group(pattern="text/.*", multiplier=0.1, weight_decay=0.0),
}


def tree(seed=0):
    rng = np.random.default_rng(seed)
    flat = {n: jnp.asarray(rng.standard_normal(s), jnp.float32) for n, s in SHAPES.items()}
    return traverse_util.unflatten_dict(flat, sep="/")


def flat(params):
    return traverse_util.flatten_dict(params, sep="/")


def falling(step):
    return 0.1 / (jnp.asarray(step, jnp.float32) + 1.0)


def stepped(optimizer, params, *, steps=4):
    """The parameters after each step of gradients that depend on the step alone."""
    state, each = optimizer.init(params), [params]
    update = jax.jit(lambda g, s, p, step: optimizer.update(g, s, p, step=step))
    for step in range(steps):
        grads = {name: flat(tree(seed=step + 1))[name] for name in flat(params)}
        grads = traverse_util.unflatten_dict(grads, sep="/")
        updates, state = update(grads, state, params, jnp.int32(step))
        params = jax.tree.map(jnp.add, params, updates)
        each.append(params)
    return [flat(params) for params in each]


# --- the optimiser -----------------------------------------------------------------------------


def test_groups_are_the_multi_transform_of_optax_with_every_layer_an_array_of_its_own():
    def apart(params):  # each layer of a stack as one of a dict
        def layers(path, leaf):
            return {str(i): leaf[i] for i in range(DEPTH)} if "blocks" in path else leaf

        return by_path(params, layers)

    def adamw(multiplier, decay):
        return optax.adamw(
            lambda count: multiplier * falling(count), 0.8, 0.9, weight_decay=decay, mask=does_decay
        )

    def does_decay(params):
        return by_path(params, lambda path, _: bool({"kernel", "tokens"} & set(path)))

    labels = {  # multiplier and decay, counted by hand
        "image/patches/linear/kernel": (0.7**4, 0.4), "image/positions": (0.7**4, 0.4),
        "image/norm/scale": (5.0, 0.4), "image_projection/kernel": (5.0, 0.2),
        "text/tokens": (0.1, 0.0), "log_scale": (1.0, 0.2),
    }  # fmt: skip
    for name in ("image/stack/blocks/mlp/up/kernel", "image/stack/blocks/norm1/scale"):
        labels |= {f"{name}/{i}": (0.7 ** (DEPTH - i), 0.4) for i in range(DEPTH)}
    transform = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform(
            {f"{rate} {decay}": adamw(rate, decay) for rate, decay in labels.values()},
            traverse_util.unflatten_dict({k: f"{r} {d}" for k, (r, d) in labels.items()}, sep="/"),
        ),
    )
    want = apart(tree())
    state = transform.init(want)
    with jax.numpy_dtype_promotion("standard"):
        update = jax.jit(transform.update)
        for step in range(4):
            updates, state = update(apart(tree(seed=step + 1)), state, want)
            want = jax.tree.map(jnp.add, want, updates)
    optimizer = make_optimizer(
        schedule=falling, weight_decay=0.2, b1=0.8, b2=0.9, groups=resolve(GROUPS, tree())
    )
    got = apart(traverse_util.unflatten_dict(stepped(optimizer, tree())[-1], sep="/"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, want)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_group_learns_as_all_would_by_an_optimizer_of_its_settings(name):
    settings = dict(schedule=falling, weight_decay=0.2)
    group = Group(pattern="image/.*", multiplier=0.5, weight_decay=0.4)
    got = stepped(make_optimizer(name, **settings, groups=resolve({"g": group}, tree())), tree())
    slower = dict(schedule=lambda step: 0.5 * falling(step), weight_decay=0.4)
    theirs, rest = (stepped(make_optimizer(name, **each), tree()) for each in (slower, settings))
    for parameter, leaf in got[-1].items():
        want = (theirs if parameter.startswith("image/") else rest)[-1][parameter]
        np.testing.assert_allclose(leaf, want, rtol=1e-5, atol=1e-6, err_msg=parameter)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_groups_state_and_steps_are_those_of_the_plain_chain(name):
    optimizer = make_optimizer(name, schedule=falling, weight_decay=0.2, groups={})
    chain = optax.chain(
        optax.clip_by_global_norm(1.0),
        OPTIMIZERS[name](),
        optax.add_decayed_weights(0.2, mask=decays),
    )
    params = tree()
    state, want_state = optimizer.init(params), chain.init(params)
    assert jax.tree.structure(state) == jax.tree.structure(want_state)

    def plainly(grads, state, params, step):
        with jax.numpy_dtype_promotion("standard"):
            directions, state = chain.update(grads, state, params)
        return jax.tree.map(lambda direction: -falling(step) * direction, directions), state

    def grouped(grads, state, params, step):
        return optimizer.update(grads, state, params, step=step)

    arguments = tree(1), state, params, jnp.int32(3)
    got, want = jax.jit(grouped)(*arguments), jax.jit(plainly)(*arguments)
    jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_groups_add_nothing_to_the_state_on_disk(name):
    groups = resolve(GROUPS | {"late": Group(pattern="text/.*", frozen_until=3)}, tree())
    plain = make_optimizer(name, schedule=falling, weight_decay=0.2).init(tree())
    grouped = make_optimizer(name, schedule=falling, weight_decay=0.2, groups=groups).init(tree())
    assert leaf_names(plain) == leaf_names(grouped)


def test_what_is_frozen_keeps_every_bit_until_its_step_and_then_moves():
    start = tree()
    start["image"]["positions"] = start["image"]["positions"].at[0].set(-0.0)
    groups = {"late": Group(pattern="image/.*", frozen_until=3), "other": GROUPS["words"]}
    optimizer = make_optimizer(schedule=falling, weight_decay=0.2, groups=resolve(groups, start))
    steps = stepped(optimizer, start, steps=4)
    for name in SHAPES:
        bits = [np.asarray(params[name]).view(np.int32) for params in steps]
        for before, after in ((0, 1), (1, 2), (2, 3)):
            same = (bits[before] == bits[after]).all()
            assert same == name.startswith("image/"), (name, before)
        assert (bits[3] != bits[4]).any()


def test_beside_what_is_frozen_the_rest_trains_as_without_it():
    """Its gradients do not count in the norm that clips theirs."""
    groups = resolve({"late": Group(pattern="image/.*", frozen_until=4)}, tree())
    optimizer = make_optimizer(schedule=falling, clip_norm=0.1, b1=0.3, groups=groups)
    got = stepped(optimizer, tree())
    rest = {name: leaf for name, leaf in tree().items() if name != "image"}
    want = stepped(make_optimizer(schedule=falling, clip_norm=0.1, b1=0.3), rest)
    for ours, theirs in zip(got, want, strict=True):
        for name, leaf in theirs.items():
            np.testing.assert_allclose(ours[name], leaf, rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_released_group_steps_as_after_a_learning_rate_of_zero():
    groups = resolve({"late": Group(pattern=".*", frozen_until=3)}, tree())
    optimizer = make_optimizer(schedule=falling, weight_decay=0.2, groups=groups)
    late = make_optimizer(
        schedule=lambda step: jnp.where(step < 3, 0.0, falling(step)), weight_decay=0.2
    )
    for ours, theirs in zip(
        stepped(optimizer, tree(), steps=6), stepped(late, tree(), steps=6), strict=True
    ):
        for name, leaf in theirs.items():
            np.testing.assert_allclose(ours[name], leaf, rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_later_group_wins_setting_by_setting():
    groups = {
        "all": Group(pattern=".*", multiplier=2.0, weight_decay=0.3, frozen_until=5),
        "words": Group(pattern="text/.*", multiplier=0.5, frozen_until=0),
    }
    own = resolve(groups, tree())
    assert own[("text", "tokens")] == (0.5, 0.3, 0)
    assert own[("log_scale",)] == (2.0, 0.3, 5)
    assert resolve(dict(reversed(groups.items())), tree())[("text", "tokens")] == (2.0, 0.3, 5)


# --- layers ------------------------------------------------------------------------------------


def beit(name, *, depth):
    """The id of a layer and the scale of its rate by `optim_factory.py` of BEiT, in timm's names.

    https://github.com/microsoft/unilm/blob/master/beit: an id of 0 before the blocks, and the scale
    is the decay to the power of the largest id less the own one.
    """
    top = depth + 1
    if name in ("cls_token", "mask_token", "pos_embed") or name.startswith("patch_embed"):
        return top
    return top - 1 - int(name.split(".")[1]) if name.startswith("blocks") else 0


def test_layers_of_a_vision_transformer_are_those_of_beit():
    def make(rngs):
        return VisionTransformer(
            image_size=16, patch_size=8, width=8, depth=4, num_heads=2, pool="cls", pooler=True,
            rngs=rngs,
        )  # fmt: skip

    timm = {
        "patches": "patch_embed.proj", "class_token": "cls_token", "positions": "pos_embed",
        "norm": "fc_norm", "pooler": "head.fc",
    }  # fmt: skip
    shapes = traverse_util.flatten_dict({"image": abstract_model(make)[1]})
    for path, behind in layers_behind(shapes).items():
        if "blocks" in path:
            want = [beit(f"blocks.{i}.attn.qkv", depth=4) for i in range(4)]
            assert behind.shape == (4, *[1] * (shapes[path].ndim - 1))
            np.testing.assert_array_equal(behind.ravel(), want)
        else:
            assert behind == beit(timm[path[1]], depth=4), path
    assert len(shapes) > 12


def test_stacks_one_behind_the_other_are_one_tower_and_serve_towers_without_blocks():
    """VLMo's."""
    shapes = {
        ("image", "patches", "linear", "kernel"): (6, 8), ("text", "tokens"): (9, 8),
        ("multiway", "upper", "blocks", "norm", "scale"): (1, 8),
        ("multiway", "lower", "blocks", "norm", "scale"): (2, 8),
        ("multiway", "norm", "scale"): (8,), ("pooler", "kernel"): (8, 8), ("log_scale",): (),
    }  # fmt: skip
    found = layers_behind({p: jax.ShapeDtypeStruct(s, jnp.float32) for p, s in shapes.items()})
    listed = {path: np.ravel(behind).tolist() for path, behind in found.items()}
    assert list(listed.values()) == [[4], [4], [1], [3, 2], [0], [0], [0]]


def test_towers_without_blocks_have_no_layers():
    shapes = {
        ("image", "stem", "conv1", "kernel"): (3, 3, 3, 8), ("text", "tokens"): (9, 8),
        ("text", "norm", "scale"): (8,),
    }  # fmt: skip
    found = layers_behind({p: jax.ShapeDtypeStruct(s, jnp.float32) for p, s in shapes.items()})
    assert set(found.values()) == {0}


# --- a training --------------------------------------------------------------------------------

TOY_GROUPS = {
    "image": Group(pattern="image/.*", layer_decay=0.5, weight_decay=0.0),
    "words": Group(pattern="text/.*", multiplier=3.0, frozen_until=4),
}


@pytest.fixture(scope="module")
def grouped():
    return make_toy_training(groups=TOY_GROUPS)


def trained(training, state, steps):
    for step in steps:
        state, _ = training.step(state, put_batch(device_batch(step), training.mesh))
    return state


def test_a_run_resumed_while_a_group_is_frozen_is_the_same_to_the_bit(grouped, tmp_path):
    whole = jax.tree.map(np.array, trained(grouped, grouped.init(), range(1, 8)))
    half = trained(grouped, grouped.init(), (1, 2))
    tokens = np.array(half.params["text"]["tokens"])
    np.testing.assert_array_equal(tokens, grouped.init().params["text"]["tokens"])
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(2, half, loader={})
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    restored = checkpoints.restore(grouped.abstract).state
    checkpoints.close()
    again = jax.tree.map(np.array, trained(grouped, restored, range(3, 8)))
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    assert (whole.params["text"]["tokens"] != tokens).any()


def test_groups_on_eight_devices_are_those_on_one(grouped):
    alone = trained(grouped, grouped.init(), range(1, 7)).params
    sharded = make_toy_training(groups=TOY_GROUPS, mesh=make_mesh(fsdp=8))
    for ours, theirs in zip(
        jax.tree.leaves(trained(sharded, sharded.init(), range(1, 7)).params),
        jax.tree.leaves(alone),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


# --- what cannot be ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(), "a group must set one of multiplier, layer_decay, weight_decay, frozen_until"),
        (dict(multiplier=0.0), "multiplier must be above 0, got 0.0"),
        (dict(multiplier=float("inf")), "multiplier must be above 0, got inf"),
        (dict(layer_decay=1.5), "layer_decay must be above 0 and at most 1, got 1.5"),
        (dict(weight_decay=-0.1), "weight_decay must be at least 0, got -0.1"),
        (dict(frozen_until=-1), "frozen_until must be at least 0, got -1"),
    ],
)
def test_a_group_that_cannot_be_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Group(pattern=".*", **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(pattern="imge/.*", multiplier=2.0), "g: .* got 'imge/.*'.* mean \"image/.*\""),
        (dict(pattern=("text/.*", "["), multiplier=2.0), r"must be regular expressions, got '\['"),
        (dict(pattern=(), multiplier=2.0), "must have parameters that train"),
        (dict(pattern="text/.*", multiplier=2.0), "must have parameters that train, got 'text"),
        (dict(pattern="log_scale", weight_decay=0.1), "must have matrices"),
        (dict(pattern="image/norm/.*", layer_decay=0.5), "must have blocks, or what is before"),
    ],
)
def test_a_group_without_an_effect_is_refused_by_its_name(settings, said):
    with pytest.raises(ValueError, match=said):
        resolve({"g": Group(**settings)}, tree(), untrained=frozenset({("text", "tokens")}))


def test_what_is_frozen_for_good_is_left_out_of_a_group():
    own = resolve(
        {"g": Group(pattern="image/.*", layer_decay=0.5)},
        tree(),
        untrained=frozenset({("image", "stack", "blocks", "mlp", "up", "kernel")}),
    )
    assert ("image", "stack", "blocks", "mlp", "up", "kernel") not in own
    assert own[("image", "positions")].multiplier == 0.5 ** (DEPTH + 1)
