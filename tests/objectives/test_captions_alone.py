"""Captions without contrast, written from some of the image's tokens: OpenVision 2."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from tests.objectives.calling import call
from vlp.models import CoCa
from vlp.objectives.coca import Coca
from vlp.objectives.common.encode import encode_pairs

N, LENGTH, PAD, EOS, PATCHES = 6, 5, 0, 1, 16
TOWER = dict(width=16, depth=1, num_heads=2)
ALONE = dict(contrastive_weight=0.0, token_drop=0.75)


@functools.cache
def model():
    return filled(
        lambda: CoCa(
            image=dict(image_size=8, patch_size=2, pool="cls", **TOWER),
            text=dict(vocab_size=20, length=LENGTH, eos_id=EOS, pool="cls_last", **TOWER),
            decoder=dict(depth=1, num_heads=2),
            embed_dim=16,
            image_projection=None,
            text_projection=None,
            rngs=nnx.Rngs(0),
        )
    )


def make_batch():
    rng = np.random.default_rng(0)
    text = rng.integers(2, 20, (N, LENGTH), np.int32)
    text[:3, -1], text[3:, -2:] = EOS, (EOS, PAD)
    image = jnp.asarray(rng.integers(0, 256, (N, 8, 8, 3), np.uint8))
    return {"image": image, "text": jnp.asarray(text), "weight": jnp.ones(N).at[1].set(0.0)}


def encoded(*, token_drop, key=0):
    """The tokens that reach the decoder, of each image, and what it makes of them."""

    def outputs(model, image, caption, text):
        return image.tokens, model.decode(image, caption, text)

    found = encode_pairs(
        model(), make_batch(), key=jax.random.key(key), token_drop=token_drop, outputs=outputs
    )
    return jax.tree.map(np.asarray, found)


def places(kept, every):
    """Where the rows of `kept` are in `every`."""
    same = np.all(kept[:, None] == every[None], axis=-1)
    assert np.all(same.sum(axis=1) == 1)
    return np.argmax(same, axis=1).tolist()


def test_a_quarter_of_the_tokens_is_read_of_each_image_others_and_the_first():
    every, _ = encoded(token_drop=0.0)
    kept, _ = encoded(token_drop=0.75)
    assert every.shape[1] == 1 + PATCHES and kept.shape[1] == 1 + PATCHES // 4
    found = [places(*pair) for pair in zip(kept, every, strict=True)]
    assert all(each[0] == 0 and len(set(each)) == len(each) for each in found)
    assert len({tuple(sorted(each)) for each in found}) > 1
    np.testing.assert_array_equal(kept, encoded(token_drop=0.75)[0])
    assert np.any(kept != encoded(token_drop=0.75, key=1)[0])


def test_the_loss_is_that_of_the_words_alone():
    batch = make_batch()
    text, weight = np.asarray(batch["text"]), np.asarray(batch["weight"])
    _, logits = encoded(token_drop=0.75)
    logs = logits - np.log(np.sum(np.exp(np.float64(logits)), axis=2, keepdims=True))
    told = (text[:, 1:] != PAD) * weight[:, None]
    nats = -np.take_along_axis(logs, text[:, 1:, None], axis=2)[..., 0]
    want = 2 * np.sum(nats * told) / np.sum(told)
    losses, metrics, _ = call(Coca(**ALONE), model(), batch)
    np.testing.assert_allclose(np.average(losses, weights=weight), want, rtol=1e-5)
    assert metrics.keys() == {"caption_accuracy", "caption_loss"}


def test_micro_batches_change_neither_loss_nor_gradient():
    graphdef, params = nnx.split(model())
    batch = make_batch()

    def outcome(objective):
        def mean(params):
            losses, *_ = call(objective, nnx.merge(graphdef, params), batch)
            return jnp.average(losses, weights=batch["weight"])

        return jax.jit(jax.value_and_grad(mean))(nnx.as_pure(params))

    def check(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))

    whole = outcome(Coca(**ALONE))
    jax.tree.map(check, outcome(Coca(**ALONE, micro_batch_size=2)), whole)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(whole[1]["image"]["patches"]))


def test_a_share_out_of_its_range_is_refused():
    with pytest.raises(ValueError, match=r"token_drop must be a share in \[0, 1\), got 1.0"):
        Coca(token_drop=1.0)


def test_a_model_that_compares_nothing_is_refused_where_contrast_counts():
    with pytest.raises(ValueError, match="got a model without projections; .*_weight of 0"):
        call(Coca(), model(), make_batch())
