"""Distillation by hand: what a student loses against frozen and against stored teachers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from tests.objectives.calling import call
from vlp.losses import affinity_loss, feature_loss, softmax_loss
from vlp.models import DualEncoder
from vlp.objectives.distillation import Distillation

N = 10
ALL = dict(contrastive_weight=0.25, affinity_weight=0.75, feature_weight=20.0)


@functools.cache
@jax.ensure_compile_time_eval()  # the first to ask may be inside of a traced function
def model(width=16, embed_dim=8, seed=0, scale=10.0):
    tower = dict(width=width, depth=1, num_heads=2)
    made = filled(
        lambda: DualEncoder(
            image=dict(image_size=8, patch_size=2, **tower),
            text=dict(vocab_size=20, length=6, **tower),
            embed_dim=embed_dim,
            rngs=nnx.Rngs(0),
        ),
        seed=seed,
    )
    made.log_scale[...] = jnp.float32(math.log(scale))
    return made


def teacher(seed=1, scale=30.0, **sizes):
    return model(width=24, seed=seed, scale=scale, **sizes)


@functools.cache
def make_batch():
    rng = np.random.default_rng(0)
    return {
        "image": jnp.asarray(rng.integers(0, 256, (N, 8, 8, 3), np.uint8)),
        "text": jnp.asarray(rng.integers(2, 20, (N, 6), np.int32)).at[:, -1].set(1),
        "weight": jnp.ones(N).at[2].set(0),
    }


@functools.cache
def encoded(which):
    batch = make_batch()
    encode = jax.jit(
        lambda image, text: (
            which.encode_image(image).embedding,
            which.encode_text(text).embedding,
        )
    )
    return encode(batch["image"], batch["text"])


def vectors_of(which):
    zimg, ztxt = encoded(which)
    return dict(teacher_zimg=zimg, teacher_ztxt=ztxt)


def stored(**teachers):
    """The batch with the teachers' vectors in place of the teachers."""
    vectors = {}
    for name, which in teachers.items():
        zimg, ztxt = encoded(which)
        vectors |= {f"{name}/image_embedding": zimg, f"{name}/text_embedding": ztxt}
    return make_batch() | vectors


def outcome(objective, batch=None, **frozen):
    """Per-pair losses, metrics and terms, and the gradient of the weighted mean."""
    graphdef, params = nnx.split(model())

    def mean(params, batch):
        student = nnx.merge(graphdef, params)
        losses, metrics, _ = call(objective, student, batch, frozen=frozen)
        weight = batch["weight"]
        return jnp.sum(losses * weight) / jnp.sum(weight), (losses, metrics)

    run = jax.jit(jax.value_and_grad(mean, has_aux=True))
    (_, (losses, metrics)), gradient = run(nnx.as_pure(params), batch or make_batch())
    return jax.tree.map(np.asarray, (losses, metrics, gradient))


def assert_equal(got, want):
    """To 1e-5 of the largest value of each array: gradients of sums round as the sums do."""

    def check(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))

    jax.tree.map(check, got, want)


def test_stored_vectors_take_the_place_of_a_teacher_and_the_terms_weigh_what_settings_say():
    got = outcome(Distillation(**ALL), teacher=teacher())
    losses, metrics, _ = got
    student, vectors = encoded(model()), vectors_of(teacher())
    given = dict(scale=10.0, weight=make_batch()["weight"])
    want = {
        "contrastive": softmax_loss(*student, **given),
        "affinity": affinity_loss(*student, **vectors, teacher_scale=30.0, **given),
        "feature": feature_loss(*student, **vectors),
    }
    for name, value in want.items():
        assert_equal(metrics[f"{name}_loss"], value)
    assert_equal(losses, sum(ALL[f"{name}_weight"] * value for name, value in want.items()))
    objective = Distillation(**ALL, stored=True, teacher_scales=(30.0,))
    names = ("teacher/image_embedding", "teacher/text_embedding")
    assert objective.fields == ("image", "text", *names) and objective.frozen == ()
    assert_equal(outcome(objective, stored(teacher=teacher())), got)


def test_micro_batches_change_nothing_and_the_student_alone_has_patches_dropped():
    parts = Distillation(**ALL, patch_drop=0.5, micro_batch_size=4)
    whole = Distillation(**ALL, patch_drop=0.5, stored=True, teacher_scales=(30.0,))
    assert_equal(outcome(parts, teacher=teacher()), outcome(whole, stored(teacher=teacher())))


def losses_of(objective, batch, **frozen):
    return call(objective, model(), batch, frozen=frozen)[:2]


def test_of_two_teachers_each_counts_half_and_their_scales_are_not_limited():
    settings = dict(contrastive_weight=0.0, max_scale=5.0, stored=True)
    objective = Distillation(**settings, teachers=("one", "other"), teacher_scales=(30.0, 60.0))
    one, other = teacher(), teacher(seed=2)
    batch = stored(one=one, other=other)
    losses, metrics = jax.jit(functools.partial(losses_of, objective))(batch)
    assert float(metrics["scale"]) == pytest.approx(5.0)
    given = dict(scale=5.0, weight=batch["weight"])
    alone = (
        affinity_loss(*encoded(model()), **vectors_of(which), teacher_scale=scale, **given)
        for which, scale in ((one, 30.0), (other, 60.0))
    )
    assert_equal(losses, sum(alone) / 2)


def test_a_frozen_teacher_may_be_given_another_scale():
    objective = Distillation(contrastive_weight=0.0, teacher_scales=(5.0,))
    run = functools.partial(losses_of, objective, teacher=teacher())
    given = dict(scale=10.0, teacher_scale=5.0, weight=make_batch()["weight"])
    want = affinity_loss(*encoded(model()), **vectors_of(teacher()), **given)
    assert_equal(jax.jit(run)(make_batch())[0], want)


def test_widths_may_differ_for_the_affinity_and_not_for_features():
    def shapes(objective):
        run = functools.partial(losses_of, objective, teacher=teacher(embed_dim=12))
        return jax.eval_shape(run, make_batch())[0]

    assert shapes(Distillation()).shape == (N,)
    with pytest.raises(ValueError, match="teacher's, 12, got 8; set model.embed_dim to 12"):
        shapes(Distillation(feature_weight=1.0))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(contrastive_weight=0.0, affinity_weight=0.0), "and one above, got"),
        (dict(feature_weight=-1.0), "at least 0, and one above, got"),
        (dict(teachers=()), "teachers must name a model at least, got none; objective clip"),
        (dict(stored=True), "teacher_scales must have one for each of teacher, got None; CLIP"),
        (dict(teacher_scales=(1.0, 2.0)), r"one number for each of teacher, got \(1.0, 2.0\)"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Distillation(**settings)
