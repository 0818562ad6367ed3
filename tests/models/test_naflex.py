import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from tests.filled import filled
from vlp.models import DualEncoder, NaflexImages, NaflexTransformer, VisionTransformer
from vlp.models.naflex import normalise_patches, resized_positions
from vlp.nn.patches import extract_patches

PATCH, SIDE, WIDTH = 4, 3, 16
TOWER = dict(patch_size=PATCH, num_patches=SIDE**2, width=WIDTH, depth=2, num_heads=2)
GRIDS = [(2, 4), (3, 1), (1, 5)]


def make(**kwargs):
    return filled(lambda: NaflexTransformer(**{**TOWER, **kwargs}, rngs=nnx.Rngs(0)))


def images(count=9, *, padding=0):
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (len(GRIDS), 8, 3 * PATCH**2), np.uint8)
    patches = np.pad(patches, ((0, 0), (0, count - 8), (0, 0)))
    grid = np.int32(GRIDS)
    mask = np.arange(count)[None] < grid.prod(1)[:, None]
    patches = np.where(mask[:, :, None], patches, np.uint8(padding))
    return NaflexImages(*map(jnp.asarray, (patches, mask, grid)))


def normalised(images):
    half = jnp.full((3,), 0.5)
    return normalise_patches(images, mean=half, std=half)


def test_padding_changes_nothing_whatever_its_content_and_length():
    run = jax.jit(lambda tower, images: tower(images))
    pooled, tokens = run(make(), normalised(images()))
    for other in (images(padding=77), images(count=15)):
        same, others = run(make(), normalised(other))
        np.testing.assert_allclose(same, pooled, atol=1e-6)
        np.testing.assert_allclose(others[0, :8], tokens[0, :8], atol=1e-6)


def test_images_of_the_table_s_own_grid_are_those_of_a_plain_vision_transformer():
    pixels = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype(np.float32)
    patches = extract_patches(jnp.asarray(pixels), PATCH)
    square = NaflexImages(patches, jnp.ones((2, 9), bool), jnp.full((2, 2), SIDE))
    plain = filled(
        lambda: VisionTransformer(
            image_size=12, patch_size=PATCH, width=WIDTH, depth=2, num_heads=2, pool="map",
            activation="gelu_tanh", rngs=nnx.Rngs(0),
        )
    )  # fmt: skip
    assert jax.tree.structure(nnx.as_pure(nnx.state(plain))) == jax.tree.structure(
        nnx.as_pure(nnx.state(make()))
    )
    ours = make()(square)
    for got, want in zip(ours, plain(jnp.asarray(pixels)), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(
        make().hidden_states(square), plain.hidden_states(jnp.asarray(pixels)), atol=1e-5
    )


@pytest.mark.parametrize("grid", [(3, 3), (5, 2), (1, 9), (9, 1), (7, 7), (2, 2)])
def test_positions_are_resized_as_pillow_resizes_a_picture(grid):
    rows, columns = grid
    table = np.random.default_rng(0).normal(size=(25, 3)).astype(np.float32)
    want = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(table[:, i].reshape(5, 5))).resize(
                (columns, rows), Image.Resampling.BILINEAR
            )
        ).ravel()
        for i in range(3)
    ]
    got = resized_positions(jnp.asarray(table), jnp.int32([grid]), num_patches=60)[0]
    np.testing.assert_allclose(got[: rows * columns], np.stack(want, 1), atol=1e-5)
    np.testing.assert_array_equal(got[rows * columns :], got[:1].repeat(60 - rows * columns, 0))


def test_padding_becomes_zero_and_channels_get_their_own_mean():
    mean, std = jnp.float32([0.1, 0.2, 0.3]), jnp.float32([0.5, 0.6, 0.7])
    got = normalise_patches(images(padding=9), mean=mean, std=std)
    assert got.patches.dtype == jnp.float32 and float(jnp.abs(got.patches[1, 3:]).max()) == 0
    first = np.asarray(images().patches)[0, 0].reshape(PATCH, PATCH, 3)
    want = (first / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    np.testing.assert_allclose(got.patches[0, 0], want.ravel(), atol=1e-6)


def test_a_dual_encoder_takes_such_images():
    model = filled(
        lambda: DualEncoder(
            image=dict(kind="naflex", **TOWER), text=None, embed_dim=8, rngs=nnx.Rngs(0)
        )
    )
    encoded = jax.jit(lambda model, images: model.encode_image(images))(model, images())
    assert encoded.embedding.shape == (3, 8) and encoded.tokens.shape == (3, 9, WIDTH)
    assert model.image_hidden_states(images()).shape == (3, 3, 9, WIDTH)
    with pytest.raises(
        ValueError, match="is a NaflexTransformer, which takes no patch_drop, got 0.5"
    ):
        model.encode_image(images(), patch_drop=0.5)


def test_every_parameter_gets_a_gradient():
    graphdef, params = nnx.split(make())

    def total(params):
        return jnp.sum(jnp.sin(nnx.merge(graphdef, params)(normalised(images()))[0]))

    for path, gradient in jax.tree.leaves_with_path(jax.jit(jax.grad(total))(params)):
        assert float(jnp.abs(gradient).max()) > 0, jax.tree_util.keystr(path)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="num_patches must be a square such as 256, got 10"):
        make(num_patches=10)
    with pytest.raises(ValueError, match="3 x 8 x 8 = 192 values, got 48"):
        make(patch_size=8)(normalised(images()))
