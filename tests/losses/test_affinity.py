import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_reference import affinity_reference, central_differences, embeddings

from vlp.losses import affinity_loss, feature_loss

N, D, E = 6, 4, 7
WEIGHTS = {"all": np.ones(N), "some": np.array([1, 0, 2.5, 1, 0, 1]), "one": np.eye(N)[2]}
STUDENT, TEACHER = embeddings(N, D), embeddings(N, E, seed=1)


def of_teacher(teacher=TEACHER, scale=12.0):
    zimg, ztxt = (jnp.float32(z) for z in teacher)
    return dict(teacher_zimg=zimg, teacher_ztxt=ztxt, teacher_scale=jnp.float32(scale))


def loss(zimg, ztxt, scale=7.0, *, weight=None, **teacher):
    zimg, ztxt, scale = (jnp.float32(x) for x in (zimg, ztxt, scale))
    weight = None if weight is None else jnp.float32(weight)
    return affinity_loss(zimg, ztxt, scale=scale, weight=weight, **(teacher or of_teacher()))


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_values_and_gradients_are_those_of_the_definition(weight):
    share = np.arange(1.0, N + 1)

    def reference(zimg, ztxt, scale):
        return share @ affinity_reference((zimg, ztxt, scale), (*TEACHER, 12.0), weight)

    def ours(zimg, ztxt, scale):
        found = loss(zimg, ztxt, scale, weight=weight)
        return jnp.sum(found * jnp.float32(share)), found

    arguments = [*STUDENT, np.array(7.0)]
    run = jax.value_and_grad(ours, argnums=(0, 1, 2), has_aux=True)
    (_, found), gradients = run(*(jnp.float32(x) for x in arguments))
    want = affinity_reference((*STUDENT, 7.0), (*TEACHER, 12.0), weight)
    np.testing.assert_allclose(found, want, atol=1e-5)
    expected = central_differences(reference, arguments)
    for got, exact in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, exact, atol=1e-4, rtol=1e-5)


def test_a_pair_of_weight_zero_is_as_good_as_absent():
    weight = np.float32([1, 1, 0, 1, 0, 1])
    kept = np.flatnonzero(weight)
    found = loss(*STUDENT, weight=weight)
    alone = loss(*(z[kept] for z in STUDENT), **of_teacher([z[kept] for z in TEACHER]))
    np.testing.assert_allclose(found[kept], alone, rtol=1e-5)
    assert float(jnp.sum(jnp.abs(found[weight == 0]))) == 0


def test_a_student_like_its_teacher_has_the_teacher_s_entropy_and_no_gradient():
    zimg, ztxt = (jnp.float32(z) for z in STUDENT)
    teacher = of_teacher(STUDENT)
    run = jax.value_and_grad(lambda *z: jnp.sum(loss(*z, 12.0, **teacher)), argnums=(0, 1))
    value, gradients = run(zimg, ztxt)
    rows = [jax.nn.softmax(12.0 * z @ keys.T, axis=1) for z, keys in ((zimg, ztxt), (ztxt, zimg))]
    entropy = -sum(float(jnp.sum(p * jnp.log(p))) for p in rows) / 2
    np.testing.assert_allclose(value, entropy, rtol=1e-5)
    for gradient in gradients:
        np.testing.assert_allclose(gradient, 0.0, atol=1e-5)


def test_nothing_flows_into_the_teacher():
    def total(teacher):
        vectors = {k: teacher[k] for k in ("teacher_zimg", "teacher_ztxt")}
        features = feature_loss(*(jnp.float32(z) for z in embeddings(N, E)), **vectors)
        return jnp.sum(loss(*STUDENT, **teacher) + features)

    for gradient in jax.grad(total)(of_teacher()).values():
        np.testing.assert_array_equal(gradient, 0.0)


def test_no_present_pair_gives_zero_loss_and_zero_finite_gradients():
    def total(zimg, ztxt, scale):
        return jnp.sum(loss(zimg, ztxt, scale, weight=np.zeros(N)))

    given = (*(jnp.float32(z) for z in STUDENT), jnp.float32(100.0))
    value, gradients = jax.value_and_grad(total, argnums=(0, 1, 2))(*given)
    assert float(value) == 0 and all(float(jnp.sum(jnp.abs(g))) == 0 for g in gradients)


def test_swapping_the_towers_changes_nothing():
    swapped = loss(*STUDENT[::-1], **of_teacher(TEACHER[::-1]))
    np.testing.assert_allclose(swapped, loss(*STUDENT), rtol=1e-6)


def test_bfloat16_embeddings_are_summed_in_float32():
    zimg, ztxt = (jnp.bfloat16(z) for z in STUDENT)
    found = affinity_loss(zimg, ztxt, scale=7.0, **of_teacher())
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, loss(jnp.float32(zimg), jnp.float32(ztxt)))


def test_the_feature_loss_is_the_angle_to_the_teacher_s_vectors():
    student, teacher = (tuple(jnp.float32(z) for z in embeddings(N, D, seed)) for seed in (0, 1))
    vectors = dict(teacher_zimg=teacher[0], teacher_ztxt=teacher[1])
    angles = [jnp.sum(a * b, axis=1) for a, b in zip(student, teacher, strict=True)]
    want = sum(2 * (1 - cosine) / D for cosine in angles)
    np.testing.assert_allclose(feature_loss(*student, **vectors), want, atol=1e-6)
    np.testing.assert_array_equal(feature_loss(*teacher, **vectors), 0.0)


def test_features_of_another_width_are_refused_with_the_remedy():
    student, teacher = (jnp.float32(embeddings(N, width)[0]) for width in (D, E))
    with pytest.raises(ValueError, match="teacher's, 7, got 4; set model.embed_dim to 7"):
        feature_loss(student, student, teacher_zimg=teacher, teacher_ztxt=teacher)
