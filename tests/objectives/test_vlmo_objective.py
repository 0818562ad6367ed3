"""VLMo's three stages: their losses in numpy, and what each of them leaves alone."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util

from tests.filled import filled
from tests.objectives.calling import call
from vlp.models import DualEncoder, Vlmo
from vlp.objectives import masked_images, masked_words
from vlp.objectives.vlmo import Vlmo as Objective
from vlp.parallel.ids import id_words
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import put_batch

PAD, MASK, VOCAB = 0, 19, 20
KWARGS = dict(
    image=dict(kind="patches", image_size=8, patch_size=4, width=8),
    text=dict(kind="words", vocab_size=VOCAB, length=6, width=8),
    multiway=dict(depth=2, num_heads=2, fused_from=1, mlp_ratio=1.0, layer_scale=0.1),
    embed_dim=8,
)
STAGES = {
    "vision": masked_images.MaskedImages,
    "language": functools.partial(masked_words.MaskedWords, mask_id=MASK, mask_probability=0.4),
    "pairs": functools.partial(Objective, mask_id=MASK, mask_probability=0.4),
}


@functools.cache
def split_model(positions="absolute"):
    kwargs = KWARGS | dict(positions=positions)
    return nnx.split(filled(lambda: Vlmo(**kwargs, rngs=nnx.Rngs(0))))


def batch(n=8, absent=()):
    rng = np.random.default_rng(3)
    text = rng.integers(2, MASK, (n, 6)).astype(np.int32)
    text[::3, 4:] = PAD
    weight = np.ones(n, np.float32)
    weight[list(absent)] = 0
    images = rng.integers(0, 256, (n, 8, 8, 3)).astype(np.uint8)
    return {"image": images, "text": text, "weight": weight, "id": id_words(np.arange(n))}


@functools.cache
def compiled(stage, positions, micro_batch_size):
    graphdef, _ = split_model(positions)
    objective = STAGES[stage](micro_batch_size=micro_batch_size)

    def total(state, batch, key):
        losses, metrics, _ = call(objective, nnx.merge(graphdef, state), batch, key=key)
        mean = jnp.sum(jnp.where(batch["weight"] > 0, losses, 0.0)) / jnp.sum(batch["weight"])
        return mean, (losses, metrics)

    return jax.jit(jax.value_and_grad(total, has_aux=True))


def run(stage, these, positions="absolute", micro_batch_size=None):
    these = {name: jnp.asarray(value) for name, value in these.items()}
    (_, (losses, metrics)), gradient = compiled(stage, positions, micro_batch_size)(
        split_model(positions)[1], these, jax.random.key(5)
    )
    flat = traverse_util.flatten_dict(nnx.to_pure_dict(gradient), sep="/")
    return np.asarray(losses), metrics, {name: np.asarray(g) for name, g in flat.items()}


STACKS = ("lower", "upper")
# Beginnings of names; everything that begins so has a gradient of exactly zero.
UNUSED = {
    "vision": (
        "text", "image_projection", "log_scale", "match_head", "pair", "pooler", "token_head",
        "vocabulary", "multiway/lower/blocks/text", "multiway/upper/blocks/text",
        "multiway/upper/blocks/pair",
        *(f"multiway/{s}/blocks/relative/{t}" for s in STACKS for t in ("text", "pair")),
    ),
    "language": (
        "image", "text_projection", "log_scale", "match_head", "pair", "pooler", "pixel_head",
        "multiway/lower/blocks/image", "multiway/upper/blocks/image", "multiway/upper/blocks/pair",
        *(f"multiway/{s}/blocks/relative/{t}" for s in STACKS for t in ("image", "pair")),
    ),
    "pairs": ("image/mask_token", "pixel_head"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_does_not_use_has_a_gradient_of_exactly_zero_and_all_else_one(
    stage, positions
):
    *_, gradient = run(stage, batch(), positions)
    assert any("/relative/" in name for name in gradient) == (positions == "relative")
    zero = {name for name, g in gradient.items() if not g.any()}
    assert zero == {name for name in gradient if name.startswith(UNUSED[stage])}


@pytest.mark.parametrize("stage", STAGES)
def test_a_pair_without_weight_changes_nothing_for_the_others(stage):
    these = batch(absent=(2, 5))
    other = {name: value.copy() for name, value in these.items()}
    other["image"][[2, 5]], other["text"][[2, 5]] = 7, 3
    got, want = run(stage, these), run(stage, other)
    there = these["weight"] > 0
    np.testing.assert_allclose(got[0][there], want[0][there], rtol=0, atol=1e-5)
    for name, g in got[2].items():
        np.testing.assert_allclose(g, want[2][name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("stage", "size"), [("vision", 4), ("language", 3), ("pairs", 3)])
def test_micro_batches_change_neither_losses_nor_gradients(stage, size):
    got, want = run(stage, batch(), micro_batch_size=size), run(stage, batch())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, want)


def test_masked_images_is_the_mean_squared_error_of_the_hidden_patches():
    graphdef, state = split_model()
    module, these = nnx.merge(graphdef, state), batch()
    losses, *_ = run("vision", these)
    keys = jax.random.split(jax.random.key(5), 8)
    hidden = np.asarray(masked_images.hidden_patches(keys, num_patches=4, ratio=0.6))
    assert (hidden.sum(axis=1) == 2).all() and len({tuple(row) for row in hidden}) > 1
    predicted = np.asarray(
        jax.jit(lambda images, hidden: module.predict_pixels(images, hidden=hidden))(
            these["image"], jnp.asarray(hidden)
        )
    )
    for n, image in enumerate(these["image"].astype(np.float64) / 127.5 - 1):
        errors = []
        for p in np.flatnonzero(hidden[n]):
            row, column = divmod(p, 2)
            patch = image[4 * row :, 4 * column :][:4, :4].reshape(-1)
            target = (patch - patch.mean()) / math.sqrt(patch.var(ddof=1) + 1e-6)
            errors.append(np.mean((predicted[n, p] - target) ** 2))
        np.testing.assert_allclose(losses[n], np.mean(errors), rtol=1e-5)


def test_what_a_hidden_patch_showed_changes_no_prediction():
    graphdef, state = split_model()
    images = batch()["image"]
    hidden = np.tile([True, False, False, False], (8, 1))
    other = images.copy()
    other[:, :4, :4] = 255 - other[:, :4, :4]
    predict = jax.jit(
        lambda state, images: nnx.merge(graphdef, state).predict_pixels(
            images, hidden=jnp.asarray(hidden)
        )
    )
    seen, spoilt = predict(state, images), predict(state, other)
    np.testing.assert_array_equal(seen, spoilt)
    other[:, 4:, 4:] = 255 - other[:, 4:, 4:]
    assert np.abs(np.asarray(predict(state, other)) - np.asarray(seen)).max() > 1e-3


def test_a_patch_of_one_colour_has_zeros_as_targets():
    patches = jnp.full((1, 2, 12), 0.3)
    np.testing.assert_allclose(masked_images.normalised_patches(patches), 0, atol=1e-4)


def test_masked_words_is_the_cross_entropy_a_hidden_token_of_the_batch():
    graphdef, state = split_model()
    module, these = nnx.merge(graphdef, state), batch(absent=(1,))
    losses, metrics, _ = run("language", these)
    shown, targets = masked_words.mask_tokens(
        jnp.asarray(these["text"]),
        keys=jax.random.split(jax.random.key(5), 8),
        mask_id=MASK, pad_id=PAD, vocab_size=VOCAB, probability=0.4,
    )  # fmt: skip
    logits = np.asarray(jax.jit(module.predict_words)(shown), np.float64)
    nats, right = [], []
    for n, place in zip(*np.nonzero(np.asarray(targets) != PAD), strict=True):
        if these["weight"][n]:
            row, own = logits[n, place], targets[n, place]
            nats.append(np.log(np.exp(row).sum()) - row[own])
            right.append(row.argmax() == own)
    mean = np.average(losses, weights=these["weight"])
    np.testing.assert_allclose(mean, np.mean(nats), rtol=1e-5)
    accuracy = np.average(metrics["masked_accuracy"], weights=these["weight"])
    np.testing.assert_allclose(accuracy, np.mean(right), rtol=1e-5)


def test_the_loss_is_half_of_each_contrast_and_matching_and_a_quarter_of_the_words():
    graphdef, state = split_model()
    module, these = nnx.merge(graphdef, state), batch()
    these = {name: jnp.asarray(value) for name, value in these.items()}
    losses, metrics, _ = run("pairs", these)
    (image, pair_image), (caption, pair_text) = jax.jit(
        lambda images, text: (module.branches("image", images), module.branches("text", text))
    )(these["image"], these["text"])

    def contrast(zimg, ztxt, scale):
        logits = np.float64(scale) * np.asarray(zimg, np.float64) @ np.asarray(ztxt).T
        both = np.log(np.exp(logits).sum(axis=1)) + np.log(np.exp(logits).sum(axis=0))
        return both / 2 - np.diag(logits)

    own = contrast(image.embedding, caption.embedding, np.exp(module.log_scale[...]))
    pair = contrast(pair_image, pair_text, np.exp(module.pair_log_scale[...]))
    want = (own + pair) / 2 + metrics["matching_loss"] + metrics["masked_loss"] / 4
    np.testing.assert_allclose(losses, want, rtol=0, atol=1e-5)
    without = Objective(mask_id=MASK, mask_probability=0.4, pair_contrast=0.0)
    forward = jax.jit(
        lambda state, batch, key: call(without, nnx.merge(graphdef, state), batch, key=key)[1]
    )
    alone = forward(state, these, jax.random.key(5))
    np.testing.assert_allclose(alone["contrastive_loss"], own, rtol=0, atol=1e-5)
    np.testing.assert_allclose(alone["matching_loss"], metrics["matching_loss"], rtol=0, atol=1e-5)


def test_where_all_captions_are_equal_there_is_nothing_to_mismatch():
    these = batch()
    these["text"][:] = these["text"][0]
    _, metrics, _ = run("pairs", these)
    graphdef, state = split_model()

    @jax.jit
    def own_logits(state, images, text):
        module = nnx.merge(graphdef, state)
        return module.match(module.encode_image(images), module.encode_text(text), text)

    logits = np.asarray(own_logits(state, these["image"], these["text"]))
    own = np.log(np.exp(logits).sum(axis=1)) - logits[:, 1]
    np.testing.assert_allclose(metrics["matching_loss"], own / 3, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["absolute", "relative"])
def test_eight_devices_give_one_device_s_losses_and_gradients(positions):
    graphdef, state = split_model(positions)
    mesh = make_mesh()
    objective = Objective(mesh=mesh, implementation="gathered", mask_id=MASK, mask_probability=0.4)

    def total(state, batch):
        module = nnx.merge(graphdef, state)
        losses, *_ = call(objective, module, batch, key=5)
        return jnp.mean(losses), losses

    spread = put_batch(batch(), mesh)
    (_, losses), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(state, spread)
    alone, _, want = run("pairs", batch(), positions)
    np.testing.assert_allclose(losses, alone, rtol=0, atol=1e-5)
    flat = traverse_util.flatten_dict(nnx.to_pure_dict(gradient), sep="/")
    for name, g in flat.items():
        np.testing.assert_allclose(g, want[name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("stage", ["vision", "language", "pairs"])
def test_a_model_that_cannot_do_it_is_refused(stage):
    tower = dict(width=8, depth=1, num_heads=2)
    plain = filled(
        lambda: DualEncoder(
            image=dict(image_size=8, patch_size=4, **tower),
            text=dict(vocab_size=VOCAB, length=6, **tower),
            embed_dim=8,
            rngs=nnx.Rngs(0),
        )
    )
    with pytest.raises(ValueError, match=r"got DualEncoder; give model\.multiway"):
        call(STAGES[stage](), plain, jax.tree.map(jnp.asarray, batch()))


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="mask_ratio must be over 0 and under 1, got 1.0"):
        masked_images.MaskedImages(mask_ratio=1.0)
    with pytest.raises(ValueError, match="pair_contrast must be from 0 to 1, got 2"):
        Objective(mask_id=MASK, pair_contrast=2.0)
