import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vlp.losses.labels import NO_LABEL, best_is_own, label_losses


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels = np.full((5, 4), NO_LABEL, np.int32)
    for i in range(5):
        labels[i, :i] = np.sort(rng.choice(9, i, replace=False))
    return jnp.asarray(rng.normal(size=(5, 9), scale=3).astype(np.float32)), jnp.asarray(labels)


def several_hot(labels, count):
    hot = np.zeros((len(labels), count), np.float32)
    for i, row in enumerate(np.asarray(labels)):
        hot[i, row[row != NO_LABEL]] = 1
    return jnp.asarray(hot)


def test_the_losses_and_gradients_are_those_of_binary_cross_entropy_with_several_hot(rows):
    logits, labels = rows

    def reference(logits):
        losses = optax.sigmoid_binary_cross_entropy(logits, several_hot(labels, 9))
        return jnp.sum(losses, axis=1)

    np.testing.assert_allclose(label_losses(logits, labels), reference(logits), rtol=1e-5)
    ours = jax.grad(lambda x: jnp.sum(label_losses(x, labels)))(logits)
    theirs = jax.grad(lambda x: jnp.sum(reference(x)))(logits)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_best_label_counts_where_the_image_has_it(rows):
    logits, labels = rows
    best = np.argmax(logits, axis=1)
    expected = [float(best[i] in np.asarray(labels)[i]) for i in range(5)]
    assert best_is_own(logits, labels).tolist() == expected
    assert best_is_own(logits.at[1, labels[1, 0]].set(99.0), labels)[1] == 1


def test_large_logits_have_finite_losses():
    logits = jnp.asarray([[500.0, -500.0]])
    assert label_losses(logits, jnp.asarray([[0]])).tolist() == [0.0]
    assert label_losses(logits, jnp.asarray([[1]])).tolist() == [1000.0]
