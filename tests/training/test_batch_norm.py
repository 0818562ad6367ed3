"""Batch norm in training: whose statistics, where they live, and who moves them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util

from tests.filled import filled
from vlp.models import DualEncoder
from vlp.nn.batch_norm import MOMENTUM, statistics
from vlp.objectives import Term
from vlp.objectives.clip import Clip
from vlp.objectives.common.encode import encode_pairs
from vlp.objectives.common.micro_batches import MicroBatches
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import put_batch
from vlp.training.batch_statistics import statistics_paths, with_frozen_statistics
from vlp.training.checkpoint.checkpoints import Checkpoints
from vlp.training.optim.optimizers import make_optimizer
from vlp.training.optim.schedules import make_schedule
from vlp.training.params import join, partition, path_name, select
from vlp.training.setup import make_training
from vlp.training.state import TrainState
from vlp.training.step import BY_ARRAY, l2_by_array, mean_loss

N = 16
MODEL = dict(
    image=dict(kind="resnet", image_size=32, layers=[1, 1, 1, 1], width=4, output_dim=8),
    text=dict(vocab_size=32, length=5, width=16, depth=1, num_heads=2),
    embed_dim=8,
    image_projection="none",
)


def make_model(rngs=None):
    return DualEncoder(**MODEL, rngs=rngs or nnx.Rngs(0))


class NanWhenWhite(Clip):
    """CLIP, and NaN for a batch of white images."""

    def __call__(self, ctx):
        losses = super().__call__(ctx)
        rows = losses.terms["contrastive"].values
        white = jnp.all(ctx.batch["image"] == 255)
        rows += jnp.where(white, jnp.nan, 0.0) * rows
        return losses._replace(terms={"contrastive": Term(rows)})


@pytest.fixture(scope="module")
def training():
    return make_training(
        make_model,
        NanWhenWhite(),
        global_batch_size=N,
        mesh=make_mesh(devices=jax.devices()[:1]),
        optimizer=make_optimizer(
            schedule=make_schedule(peak=1e-3, steps=10), weight_decay=0.5, clip_norm=None
        ),
        ema_decay=0.75,
        ema_warmup=False,
    )


@pytest.fixture(scope="module")
def given():
    """Parameters and statistics to begin with, as numpy arrays."""
    return jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(filled(make_model))))


def make_batch(step=0):
    rng = np.random.default_rng(step)
    text = rng.integers(2, 32, (N, 5), dtype=np.int32)
    text[:, -1] = 1
    weight = np.ones(N, np.float32)
    weight[[2, 3, 9]] = 0
    return {
        "image": rng.integers(0, 255, (N, 32, 32, 3), dtype=np.uint8),
        "text": text,
        "weight": weight,
    }


def host(tree):
    return jax.tree.map(np.array, tree)


def flat(tree):
    return traverse_util.flatten_dict(host(tree))


def statistics_of(training, params):
    """By path, on the host."""
    paths = statistics_paths(training.recipe.graphdef, training.abstract.params)
    return {path: leaf for path, leaf in flat(params).items() if path in paths}


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_the_stem_s_statistics_move_a_tenth_towards_those_of_the_images_with_a_weight(
    training, given
):
    batch = make_batch()
    state, _ = training.step(training.init(given), batch)
    pixels = (batch["image"][batch["weight"] > 0] / 255 - 0.5) / 0.5
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = given["image"]["stem"]["conv1"]["kernel"]
    maps = sum(
        padded[:, i : i + 32 : 2, j : j + 32 : 2] @ kernel[i, j] for i in range(3) for j in range(3)
    )
    before, after = given["image"]["stem"]["norm1"], state.params["image"]["stem"]["norm1"]
    for name, now in (("mean", maps.mean((0, 1, 2))), ("variance", maps.var((0, 1, 2), ddof=1))):
        want = (1 - MOMENTUM) * before[name] + MOMENTUM * now
        np.testing.assert_allclose(after[name], want, rtol=1e-5, atol=1e-6)


def test_a_rejected_image_counts_nowhere_as_if_it_had_not_been_there(training, given):
    batch = make_batch()
    kept = batch["image"][batch["weight"] > 0]
    state, _ = training.step(training.init(given), batch)

    @jax.jit
    def moved(params, images):
        model = nnx.merge(training.recipe.graphdef, params)
        model.encode_image(images, train=True)
        return statistics(model)

    want = flat(moved(given, kept))
    got = statistics_of(training, state.params)
    assert got.keys() == want.keys() and len(got) == 2 * (3 + 4 * 4)
    for path, value in want.items():
        np.testing.assert_allclose(got[path], value, rtol=1e-5, atol=1e-5, err_msg=path_name(path))
        assert not np.array_equal(value, flat(given)[path])
    nothing = training.step(training.init(given), batch | {"weight": np.zeros(N, np.float32)})[0]
    assert_same(statistics_of(training, nothing.params), statistics_of(training, given))


@pytest.mark.slow
def test_eight_devices_take_statistics_and_gradients_of_the_global_batch(training, given):
    state, metrics = training.step(training.init(given), make_batch())
    paths = statistics_paths(training.recipe.graphdef, given)
    start = TrainState(jnp.int32(0), given, None)
    spread = put_batch(make_batch(), make_mesh())

    def mean(trainable, fixed):
        return mean_loss(training.recipe, join(trainable, fixed), start, spread, {})

    gradients = jax.jit(jax.value_and_grad(mean, has_aux=True))
    (loss, aux), grads = gradients(*partition(given, paths))
    np.testing.assert_allclose(loss, metrics["train/loss"], rtol=1e-5)
    for path, value in flat(aux[1]).items():
        np.testing.assert_allclose(
            value, flat(state.params)[path], rtol=1e-5, atol=1e-5, err_msg=path_name(path)
        )
    norms, want = l2_by_array(grads), np.asarray(metrics[BY_ARRAY])
    np.testing.assert_allclose(norms, want, rtol=1e-5, atol=1e-5 * want.max())


def test_the_optimiser_knows_nothing_of_statistics(training):
    paths = statistics_paths(training.recipe.graphdef, training.abstract.params)
    names = {path_name(path) for path in paths}
    assert "image/layer2/0/downsample/norm/variance" in names
    assert not names & set(training.gradient_names)
    moments = training.abstract.opt_state[0].mu
    assert not paths & set(traverse_util.flatten_dict(moments))


def test_a_skipped_step_leaves_the_statistics(training, given):
    batch = make_batch()
    white = batch | {"image": np.full_like(batch["image"], 255)}
    state, metrics = training.step(training.init(given), white)
    assert metrics["train/skipped"] == 1
    assert_same(host(state.params), given)


def test_the_average_is_of_statistics_as_it_does_parameters(training, given):
    state, _ = training.step(training.init(given), make_batch())
    now, average = flat(state.params), flat(state.averaged)
    for path, start in flat(given).items():
        want = 0.75 * start + 0.25 * now[path]
        np.testing.assert_allclose(average[path], want, rtol=1e-5, atol=1e-6)


def test_a_resumed_run_goes_on_to_the_bit(training, given, tmp_path):
    state, _ = training.step(training.init(given), make_batch(0))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, state)
    checkpoints.close()
    want, _ = training.step(state, make_batch(1))
    restored = Checkpoints(tmp_path / "checkpoints").restore(training.abstract).state
    got, _ = training.step(restored, make_batch(1))
    assert_same(host(got), host(want))


def encoded(graphdef, params, batch, **settings):
    """Embeddings of a training pass, and the statistics after it."""

    @jax.jit
    def run(params, batch):
        model = nnx.merge(graphdef, params)
        pairs = encode_pairs(model, batch, key=jax.random.key(0), **settings)
        return pairs, statistics(model)

    return host(run(params, batch))


@pytest.mark.parametrize("pattern", ["image/.*", "image/.*/(mean|variance)"])
def test_frozen_statistics_normalise_in_training_too_and_allow_micro_batches(
    training, given, pattern
):
    batch = make_batch()
    frozen = select(given, [pattern])
    graphdef = with_frozen_statistics(training.recipe.graphdef, given, frozen=frozen)
    (zimg, _), after = encoded(graphdef, given, batch)
    model = nnx.merge(training.recipe.graphdef, given)
    want = jax.jit(lambda images: model.encode_image(images).embedding)(batch["image"])
    np.testing.assert_allclose(zimg, want, atol=1e-6)
    assert_same(flat(after), statistics_of(training, given))
    (parts, _), _ = encoded(graphdef, given, batch, micro=MicroBatches(4))
    np.testing.assert_allclose(parts, want, atol=1e-5)


def test_micro_batches_are_refused_where_statistics_are_the_batch_s(training, given):
    with pytest.raises(ValueError, match="the whole batch at once.*micro_batch_size 4.*freeze"):
        encoded(training.recipe.graphdef, given, make_batch(), micro=MicroBatches(4))
