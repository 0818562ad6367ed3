"""A teacher's predictions of tokens."""

import jax.numpy as jnp
import numpy as np

from vlp.losses import captioning_loss, distilled_language_loss

TARGETS = np.array([[3, 0, 4], [0, 2, 0], [0, 0, 0]], np.int32)


def logits(seed):
    return np.random.default_rng(seed).normal(size=(3, 3, 5)) * 2


def test_it_is_the_mean_over_the_places_with_a_target():
    student, teacher = logits(0), logits(1)
    q = np.exp(teacher) / np.exp(teacher).sum(axis=2, keepdims=True)
    p = np.log(np.exp(student) / np.exp(student).sum(axis=2, keepdims=True))
    each = -np.sum(q * p, axis=2)
    want = [(each[0, 0] + each[0, 2]) / 2, each[1, 1], 0.0]
    got = distilled_language_loss(
        jnp.float32(student), jnp.float32(teacher), jnp.asarray(TARGETS), pad_id=0
    )
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_certain_teacher_that_is_right_is_the_captioning_loss():
    student = jnp.float32(logits(0))
    certain = 100 * np.eye(5, dtype=np.float32)[TARGETS]
    got = distilled_language_loss(student, jnp.asarray(certain), jnp.asarray(TARGETS), pad_id=0)
    want = captioning_loss(student, jnp.asarray(TARGETS), pad_id=0)
    np.testing.assert_allclose(got, want, atol=1e-5)
