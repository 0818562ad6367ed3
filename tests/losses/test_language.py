import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_reference import captioning_reference, central_differences

from vlp.losses import captioning_loss

# A whole caption, a short one, one with a hole, and one without any target.
TARGETS = np.array([[3, 1, 4], [2, 0, 0], [0, 3, 0], [0, 0, 0]], np.int32)


def logits():
    return np.random.default_rng(0).normal(size=(*TARGETS.shape, 5)) * 3


def loss_of(logits, targets, **settings):
    return captioning_loss(logits, jnp.asarray(targets), **settings)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_values_and_gradients_are_those_of_the_definition(label_smoothing):
    share = np.arange(1.0, 5)

    def reference(x):
        return share @ captioning_reference(x, TARGETS, 0, label_smoothing)

    def ours(x):
        loss = loss_of(x, TARGETS, pad_id=0, label_smoothing=label_smoothing)
        return jnp.sum(loss * jnp.float32(share)), loss

    (_, loss), gradient = jax.value_and_grad(ours, has_aux=True)(jnp.float32(logits()))
    want = captioning_reference(logits(), TARGETS, 0, label_smoothing)
    np.testing.assert_allclose(loss, want, atol=1e-5)
    np.testing.assert_allclose(gradient, central_differences(reference, [logits()])[0], atol=1e-5)


def test_padding_weighs_nothing_and_a_caption_without_targets_is_zero():
    gradient = jax.grad(lambda x: jnp.sum(loss_of(x, TARGETS, pad_id=0)))
    found = gradient(jnp.float32(logits()))
    assert not np.any(found[TARGETS == 0]) and np.all(np.any(found[TARGETS != 0], axis=-1))
    assert float(loss_of(jnp.float32(logits()), TARGETS, pad_id=0)[3]) == 0


@pytest.mark.parametrize("pad_id", [-100, 99])
def test_an_id_out_of_the_vocabulary_may_stand_for_padding(pad_id):
    want = loss_of(jnp.float32(logits()), TARGETS, pad_id=0)
    other = np.where(TARGETS == 0, np.int32(pad_id), TARGETS)
    got = loss_of(jnp.float32(logits()), other, pad_id=pad_id)
    np.testing.assert_array_equal(got, want)


def test_equal_logits_cost_the_logarithm_of_the_vocabulary():
    loss = loss_of(jnp.zeros((4, 3, 5)), TARGETS, pad_id=0, label_smoothing=0.3)
    np.testing.assert_allclose(loss, np.log(5) * np.array([1, 1, 1, 0]), rtol=1e-6)


def test_bfloat16_logits_are_summed_in_float32():
    rounded = jnp.bfloat16(logits())
    loss = loss_of(rounded, TARGETS, pad_id=0)
    assert loss.dtype == jnp.float32
    exact = loss_of(jnp.float32(rounded), TARGETS, pad_id=0)
    np.testing.assert_array_equal(loss, exact)


def test_large_logits_overflow_nowhere():
    value, gradient = jax.value_and_grad(
        lambda x: jnp.sum(loss_of(x, TARGETS, pad_id=0, label_smoothing=0.1))
    )(jnp.float32(logits() * 1e4))
    assert bool(jnp.isfinite(value)) and bool(jnp.all(jnp.isfinite(gradient)))
