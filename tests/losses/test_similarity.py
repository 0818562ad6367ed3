import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_reference import central_differences

from vlp.losses import sigmoid_loss, softmax_loss
from vlp.losses.similarity import SIMILARITIES, Tokens, similarities

N, M, P, L, D = 4, 5, 3, 4, 3
RNG = np.random.default_rng(0)
PATCHES, WORDS, TEXTS = (RNG.normal(size=shape) for shape in ((N, P, D), (M, L, D), (M, D)))
REAL_WORDS = np.arange(L) < np.array([[4], [1], [2], [3], [4]])
REAL_PATCHES = np.arange(P) < np.array([[3], [2], [3], [1]])


def tokens(vectors, mask):
    return Tokens(jnp.float32(vectors), jnp.asarray(mask))


def late_interaction(patches, words, real_patches=REAL_PATCHES, real_words=REAL_WORDS):
    """Both matrices as loops."""
    to_texts, to_images = np.zeros((2, len(patches), len(words)))
    for i, j in np.ndindex(to_texts.shape):
        products = patches[i][real_patches[i]] @ words[j][real_words[j]].T
        to_texts[i, j] = products.max(axis=1).mean()
        to_images[i, j] = products.max(axis=0).mean()
    return to_texts, to_images


def test_the_queries_of_an_image_are_judged_by_the_best():
    (got,) = similarities("max_over_queries", jnp.float32(PATCHES), jnp.float32(TEXTS))
    want = [[max(query @ text for query in image) for text in TEXTS] for image in PATCHES]
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_late_interaction_is_the_mean_over_real_tokens_of_the_best_of_the_others():
    images, texts = tokens(PATCHES, REAL_PATCHES), tokens(WORDS, REAL_WORDS)
    got = similarities("late_interaction", images, texts)
    want = late_interaction(PATCHES, WORDS)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert np.abs(want[0] - want[1]).max() > 0.1
    # Each side sees the other as it would with the roles exchanged.
    other = similarities("late_interaction", texts, images)
    np.testing.assert_allclose(got[0], other[1].T, atol=1e-6)


def test_one_vector_each_makes_all_similarities_inner_products():
    zimg, ztxt = jnp.float32(PATCHES[:, 0]), jnp.float32(TEXTS)
    (want,) = similarities("dot", zimg, ztxt)
    (queries,) = similarities("max_over_queries", zimg[:, None], ztxt)
    late = similarities("late_interaction", Tokens(zimg[:, None]), Tokens(ztxt[:, None]))
    for got in (queries, *late):
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_a_sample_without_real_tokens_is_like_nothing_and_has_finite_gradients():
    empty = REAL_WORDS & (np.arange(M) != 2)[:, None]

    def total(patches, words):
        found = similarities(
            "late_interaction", tokens(patches, REAL_PATCHES), tokens(words, empty)
        )
        return sum(jnp.sum(jnp.cos(x)) for x in found), found

    (_, found), gradient = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(
        jnp.float32(PATCHES), jnp.float32(WORDS)
    )
    assert all(float(jnp.max(jnp.abs(x[:, 2]))) == 0 for x in found)
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in gradient)
    np.testing.assert_array_equal(jnp.where(jnp.asarray(empty)[:, :, None], 0.0, gradient[1]), 0)


def test_each_direction_of_the_softmax_takes_its_own_matrix():
    words, real = WORDS[:N], REAL_WORDS[:N]
    share = np.arange(1.0, N + 1)

    def reference(patches, words, scale):
        to_texts, to_images = late_interaction(patches, words, real_words=real)
        loss = np.log(np.exp(scale * to_texts).sum(1)) - scale * np.diagonal(to_texts)
        loss = loss + np.log(np.exp(scale * to_images).sum(0)) - scale * np.diagonal(to_images)
        return share @ loss / 2

    def ours(patches, words, scale):
        pair = tokens(patches, REAL_PATCHES), tokens(words, real)
        loss = softmax_loss(*pair, scale=scale, similarity="late_interaction")
        return jnp.sum(loss * jnp.float32(share))

    arguments = [PATCHES, words, np.array(2.0)]
    value, gradients = jax.value_and_grad(ours, argnums=(0, 1, 2))(*map(jnp.float32, arguments))
    np.testing.assert_allclose(value, reference(*arguments), rtol=1e-5)
    for got, want in zip(gradients, central_differences(reference, arguments), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-5)


def test_the_sigmoid_takes_the_mean_of_both_directions():
    both = [jnp.float32(x) for x in late_interaction(PATCHES, WORDS[:N], real_words=REAL_WORDS[:N])]
    pair = tokens(PATCHES, REAL_PATCHES), tokens(WORDS[:N], REAL_WORDS[:N])
    got = sigmoid_loss(*pair, scale=2.0, bias=-1.0, similarity="late_interaction")
    mean = 0.5 * (both[0] + both[1])
    want = sigmoid_loss(*pair, scale=2.0, bias=-1.0, similarity=lambda zimg, ztxt: mean)
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("loss", [softmax_loss, sigmoid_loss])
def test_a_function_serves_as_a_name_does(loss):
    zimg, ztxt = jnp.float32(PATCHES), jnp.float32(TEXTS[:N])
    given = dict(scale=2.0) if loss is softmax_loss else dict(scale=2.0, bias=-1.0)
    by_name = loss(zimg, ztxt, similarity="max_over_queries", **given)
    by_function = loss(zimg, ztxt, similarity=SIMILARITIES["max_over_queries"], **given)
    np.testing.assert_array_equal(by_name, by_function)


def test_unknown_names_are_refused_with_the_known_ones():
    z = jnp.eye(2)
    with pytest.raises(
        ValueError,
        match="one of dot, max_over_queries, late_interaction, or a function, got 'cosine'",
    ):
        softmax_loss(z, z, scale=1.0, similarity="cosine")
