"""Vectors of patches as features: in the space of texts, and which models have none."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.interop import tiny
from vlp.evals.embed import Encoder, finished
from vlp.evals.features import OF_PATCHES, PATCHES, check_feature, lacks
from vlp.models import Blip2, DualEncoder
from vlp.models.bound import Bound
from vlp.parallel.mesh import make_mesh

TOWER = dict(width=16, depth=2, num_heads=2)
IMAGE = dict(image_size=8, patch_size=4, **TOWER)
TEXT = dict(vocab_size=20, length=6, **TOWER)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_patches_are_of_unit_norm_and_the_same_on_all_devices(kind):
    run, rng = tiny.make_run(kind), np.random.default_rng(0)
    batch = {"image": rng.integers(0, 256, (16, tiny.SIZE, tiny.SIZE, 3), np.uint8)}
    found = {
        mesh: finished(
            Encoder.from_model(run.model, mesh=mesh).embedding([batch], names=OF_PATCHES)
        ).features
        for mesh in (None, make_mesh())
    }
    one, several = found.values()
    for name in OF_PATCHES:
        assert one[name].shape == (16, 9, run.model.kwargs["embed_dim"])
        np.testing.assert_allclose(np.linalg.norm(one[name], axis=-1), 1, atol=1e-5)
        np.testing.assert_allclose(several[name], one[name], atol=1e-6)
    assert not np.allclose(one[PATCHES], one["patches:values"], atol=1e-2)


def test_where_a_mean_is_pooled_patches_go_through_the_projection_of_images():
    run = tiny.make_run("clip", **{"image.pool": "mean"})
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), np.uint8)
    work = Encoder.from_model(run.model).embedding([{"image": images}], names=(PATCHES,))
    tokens = run.model.encode_image(images).tokens
    expected = run.model.image_projection(tokens)
    expected = expected / jnp.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(finished(work).features[PATCHES], expected, atol=1e-5)


def pair(image, **others):
    given = dict(image=image, text=TEXT, embed_dim=16) | others
    return nnx.eval_shape(lambda: DualEncoder(**given, rngs=nnx.Rngs(0)))


def resnet():
    image = dict(kind="resnet", image_size=64, layers=[1, 1, 1, 1], width=4, output_dim=16)
    return pair(image, image_projection="none")


def blip2():
    text = dict(kind="bert", vocab_size=22, length=6, num_types=None, pooler=False, **TOWER)
    given = dict(image=IMAGE, text=text, embed_dim=10, end_id=1, num_queries=3)
    return nnx.eval_shape(lambda: Blip2(**given, rngs=nnx.Rngs(0)))


def bound(**others):
    audio = dict(frames=12, n_mels=8, patch_size=(4, 4), **TOWER)
    given = dict(image=IMAGE, text=TEXT, audio=audio, embed_dim=10) | others
    pairs = ("image-text", "image-audio")
    return nnx.eval_shape(lambda: Bound(**given, pairs=pairs, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (resnet, "is a ModifiedResNet, and only a VisionTransformer has vectors of patches"),
        (lambda: pair(dict(kind="naflex", patch_size=4, num_patches=4, **TOWER)), "is a Naflex"),
        (
            lambda: pair(IMAGE | dict(pool="queries", queries=dict(
                width=16, num_queries=4, num_heads=2))),
            "pools by 'queries', queries that read all patches together",
        ),
        (lambda: pair(IMAGE, image_projection=None), "are no projection of what the image tower"),
        (blip2, "are no projection of what the image tower pools"),
        (lambda: bound(trunk="text"), "blocks are those of another tower"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", OF_PATCHES)
def test_models_without_vectors_of_patches_say_why(make, why, name):
    assert why in lacks(make(), name)
    check_feature(name)


def test_models_of_other_kinds_have_them():
    assert lacks(pair(IMAGE), PATCHES) == lacks(bound(), PATCHES) == ""
    assert lacks(pair(IMAGE | dict(pool="map")), PATCHES) == ""
