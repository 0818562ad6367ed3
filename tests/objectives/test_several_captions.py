"""Several captions of an image at once: the objectives of CLIP and SigLIP, whole and in parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.objectives.test_contrastive_objectives import (
    OBJECTIVES,
    assert_equal,
    make_batch,
    model,
    outcome,
)
from vlp.losses import sigmoid_loss, softmax_loss
from vlp.objectives.common.encode import in_batch_accuracy

COUNTS = [2, 2, 2, 2, 1, 2, 2, 2, 2, 2]


@functools.cache
def several():
    """Ten images with two captions each, but for one with one."""
    batch = make_batch()
    rng = np.random.default_rng(1)
    text = rng.integers(2, 20, (len(COUNTS), 2, 6), np.int32)
    text[:, :, -1] = 1
    text[4, 1] = -1
    return batch | {"text": jnp.asarray(text)}


@functools.cache
def whole(name):
    return outcome(OBJECTIVES[name](), several())


@functools.cache
def encoded():
    """Each image, and the captions at each place by themselves."""
    encoder, batch = model(), several()
    encode = jax.jit(lambda text: encoder.encode_text(text).embedding)
    texts = [encode(jnp.where(text < 0, 7, text)) for text in batch["text"].swapaxes(0, 1)]
    return jax.jit(lambda image: encoder.encode_image(image).embedding)(batch["image"]), texts


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_is_the_mean_over_captions_that_are_encoded_one_by_one(name):
    (zimg, texts), batch = encoded(), several()
    losses = []
    for j, ztxt in enumerate(texts):
        weight = jnp.where(batch["text"][:, j, 0] < 0, 0, batch["weight"])
        given = dict(scale=10.0, weight=weight)
        loss = softmax_loss if name == "clip" else functools.partial(sigmoid_loss, bias=-5.0)
        losses.append(np.asarray(loss(zimg, ztxt, **given)))
    assert_equal(whole(name)[0], np.sum(losses, axis=0) / COUNTS)


def test_the_number_of_captions_is_said_and_accuracy_is_of_the_first():
    metrics = whole("clip")[1]
    np.testing.assert_array_equal(metrics["captions"], COUNTS)
    zimg, texts = encoded()
    first = in_batch_accuracy(zimg, texts[0], weight=several()["weight"])
    assert {name: metrics[name] for name in first} == first


@pytest.mark.parametrize(("name", "size"), [("clip", 4), ("siglip", 5)])
def test_micro_batches_change_neither_losses_nor_gradients(name, size):
    assert_equal(outcome(OBJECTIVES[name](micro_batch_size=size), several()), whole(name))


def test_over_a_mesh_in_micro_batches_all_is_as_on_one_device():
    mesh = jax.make_mesh((5,), ("data",), (AxisType.Auto,), devices=jax.devices()[:5])
    batch = jax.device_put(several(), NamedSharding(mesh, PartitionSpec("data")))
    spread = OBJECTIVES["siglip"](mesh=mesh, implementation="ring", micro_batch_size=5)
    assert_equal(outcome(spread, batch), whole("siglip"))


def test_a_row_of_weight_zero_moves_neither_losses_nor_gradients():
    batch = several()
    other = batch | {
        "image": batch["image"].at[2].set(255 - batch["image"][2]),
        "text": batch["text"].at[2].set(-1),  # as the loader has it
    }
    got, want = outcome(OBJECTIVES["clip"](), other), whole("clip")
    jax.tree.map(np.testing.assert_array_equal, (got[0], got[2]), (want[0], want[2]))
