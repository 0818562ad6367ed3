"""Several texts that belong to an image: groups, and how much each belongs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_reference import central_differences, embeddings

from vlp.losses import sigmoid_loss, softmax_loss

N, D = 6, 4
GROUPS = np.array([3, 7, 3, 3, 7, 5])
SHARES = np.random.default_rng(1).random((N, N)) * (np.random.default_rng(2).random((N, N)) < 0.5)
SHARES[1] = 0  # an image without any text
POSITIVES = {
    "groups": GROUPS,
    "pairs": SHARES > 0.3,
    "shares": SHARES,
}
WEIGHTS = {"all": np.ones(N), "some": np.array([1, 0, 2.5, 1, 1, 1])}


def matrix(positives):
    return positives[:, None] == positives if positives.ndim == 1 else positives


def softmax_reference(zimg, ztxt, scale, positives, weight):
    """The mean over positives of the negative log-probability, as loops."""
    logits, loss = scale * zimg @ ztxt.T, np.zeros(N)
    there = np.flatnonzero(weight > 0)
    for i in there:
        for row, share in ((logits[i], positives[i]), (logits[:, i], positives[:, i])):
            total = share[there].astype(float).sum()
            for j in there:
                log_probability = row[j] - np.log(np.exp(row[there]).sum())
                loss[i] -= 0.5 * share[j] / (total or 1) * log_probability
    return loss


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("kind", POSITIVES)
def test_the_softmax_is_the_mean_over_positives_of_the_negative_log_probability(kind, weight):
    zimg, ztxt = embeddings(N, D)
    positives, share = POSITIVES[kind], np.arange(1.0, N + 1)
    given = positives if positives.dtype != float else positives.astype(np.float32)

    def reference(zimg, ztxt, scale):
        return share @ softmax_reference(zimg, ztxt, scale, matrix(positives), weight)

    def ours(zimg, ztxt, scale):
        settings = dict(scale=scale, weight=jnp.float32(weight), positives=jnp.asarray(given))
        return jnp.sum(softmax_loss(zimg, ztxt, **settings) * jnp.float32(share))

    arguments = [zimg, ztxt, np.array(7.0)]
    value, gradients = jax.value_and_grad(ours, argnums=(0, 1, 2))(*map(jnp.float32, arguments))
    np.testing.assert_allclose(value, reference(*arguments), rtol=1e-5)
    for got, want in zip(gradients, central_differences(reference, arguments), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("kind", ["groups", "pairs"])
def test_the_sigmoid_labels_every_positive_with_one(kind, weight):
    zimg, ztxt = embeddings(N, D)
    there = weight > 0
    sign = np.where(matrix(POSITIVES[kind]), 1, -1)
    losses = np.log1p(np.exp(-sign * (7.0 * zimg @ ztxt.T - 3.0)))
    want = np.where(there, losses @ there, 0)
    got = sigmoid_loss(
        jnp.float32(zimg),
        jnp.float32(ztxt),
        scale=7.0,
        bias=-3.0,
        weight=jnp.float32(weight),
        positives=jnp.asarray(POSITIVES[kind]),
    )
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("positives", [jnp.arange(N), jnp.eye(N, dtype=bool), jnp.eye(N)])
def test_each_pair_by_itself_is_what_no_positives_mean(positives):
    zimg, ztxt = (jnp.float32(z) for z in embeddings(N, D))
    usual = softmax_loss(zimg, ztxt, scale=10.0)
    np.testing.assert_allclose(
        softmax_loss(zimg, ztxt, scale=10.0, positives=positives), usual, rtol=1e-5, atol=1e-6
    )


def test_nothing_is_asked_of_an_image_without_a_text():
    zimg, ztxt = (jnp.float32(z) for z in embeddings(N, D))
    none = jnp.zeros((N, N), bool)
    assert float(jnp.max(jnp.abs(softmax_loss(zimg, ztxt, scale=10.0, positives=none)))) == 0


def test_the_sigmoid_refuses_shares():
    z = jnp.eye(N)
    with pytest.raises(ValueError, match="groups or True and False, got float32; compare them"):
        sigmoid_loss(z, z, scale=1.0, bias=0.0, positives=jnp.eye(N))
