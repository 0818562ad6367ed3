"""The NaFlex tower gives what transformers' Siglip2VisionModel gives, with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import Siglip2VisionConfig, Siglip2VisionModel
from transformers.models.siglip2.image_processing_siglip2 import convert_image_to_patches
from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionEmbeddings

from tests.peers.copied import TRANSFORMERS, Tensors, assert_same, randomised, tower
from vlp.models.naflex import (
    NaflexImages,
    NaflexTransformer,
    normalise_patches,
    resized_positions,
)
from vlp.nn.patches import extract_patches

PATCH, COUNT = 4, 24
TOWER = dict(patch_size=PATCH, num_patches=36, width=32, depth=3, num_heads=4, mlp_dim=56)
GRIDS = [(3, 4), (1, 24), (6, 4), (1, 2), (4, 6)]


@pytest.fixture(scope="module")
def theirs():
    config = Siglip2VisionConfig(
        hidden_size=32,
        intermediate_size=56,
        num_hidden_layers=3,
        num_attention_heads=4,
        patch_size=PATCH,
        num_patches=36,
    )
    return randomised(Siglip2VisionModel(config))


@pytest.fixture(scope="module")
def ours(theirs):
    tensors = Tensors(theirs)
    return tower(
        lambda: NaflexTransformer(**TOWER, rngs=nnx.Rngs(0)),
        {
            "patches": {"linear": tensors.linear("embeddings.patch_embedding")},
            "positions": tensors["embeddings.position_embedding.weight"],
            "stack": tensors.stack("encoder.layers", 3, TRANSFORMERS),
            "norm": tensors.norm("post_layernorm"),
            "head": tensors.map_head("head"),
        },
    )


@pytest.fixture(scope="module")
def images():
    """Pictures of different aspect ratios, cut by transformers' own function."""
    rng = np.random.default_rng(0)
    patches = np.zeros((len(GRIDS), COUNT, 3 * PATCH**2), np.uint8)
    mask = np.zeros((len(GRIDS), COUNT), bool)
    for i, (rows, columns) in enumerate(GRIDS):
        picture = rng.integers(0, 256, (3, rows * PATCH, columns * PATCH), np.uint8)
        cut = convert_image_to_patches(torch.tensor(picture), PATCH)
        patches[i, : rows * columns] = cut.numpy()
        mask[i, : rows * columns] = True
    images = NaflexImages(jnp.asarray(patches), jnp.asarray(mask), jnp.int32(GRIDS))
    half = jnp.full((3,), 0.5)
    return normalise_patches(images, mean=half, std=half)


@pytest.fixture(scope="module")
def their_outputs(theirs, images):
    with torch.no_grad():
        return theirs(
            pixel_values=torch.tensor(np.array(images.patches)),
            pixel_attention_mask=torch.tensor(np.array(images.mask)).int(),
            spatial_shapes=torch.tensor(np.array(images.grid)).long(),
            output_hidden_states=True,
        )


def test_pooled_vectors_and_tokens_are_theirs_for_mixed_aspect_ratios(ours, images, their_outputs):
    pooled, tokens = jax.jit(lambda tower, images: tower(images))(ours, images)
    assert_same(pooled, their_outputs.pooler_output)
    assert_same(tokens, their_outputs.last_hidden_state, where=np.asarray(images.mask))


def test_every_hidden_state_is_theirs(ours, images, their_outputs):
    states = jax.jit(lambda tower, images: tower.hidden_states(images))(ours, images)
    assert len(states) == len(their_outputs.hidden_states) == 4
    for our_state, their_state in zip(states, their_outputs.hidden_states, strict=True):
        assert_same(our_state, their_state, where=np.asarray(images.mask))


def test_patches_are_cut_in_their_order():
    picture = np.random.default_rng(0).normal(size=(3, 8, 20)).astype(np.float32)
    theirs = convert_image_to_patches(torch.tensor(picture), PATCH)
    ours = extract_patches(jnp.asarray(picture.transpose(1, 2, 0))[None], PATCH)[0]
    np.testing.assert_array_equal(ours, theirs.numpy())


@pytest.mark.parametrize("side", [4, 6, 16])
def test_positions_are_resized_as_torch_resizes(side):
    grids = [(1, 1), (2, 3), (16, 16), (5, 19), (31, 2), (7, 40), (4, 4), (6, 6)]
    table = np.random.default_rng(0).normal(size=(side**2, 8)).astype(np.float32)
    theirs = Siglip2VisionEmbeddings.resize_positional_embeddings(
        torch.tensor(table).reshape(side, side, 8), torch.tensor(grids), 280
    )
    ours = jax.jit(resized_positions, static_argnames="num_patches")(
        jnp.asarray(table), jnp.int32(grids), num_patches=280
    )
    assert_same(ours, theirs, atol=5e-6)


def test_a_grid_one_patch_wide_gets_the_positions_of_the_turned_table():
    table = np.random.default_rng(0).normal(size=(6, 6, 8)).astype(np.float32)
    settings = dict(mode="bilinear", align_corners=False, antialias=True)
    turned = torch.tensor(table.transpose(2, 1, 0).copy())[None]
    theirs = torch.nn.functional.interpolate(turned, size=(1, 9), **settings)[0, :, 0].T
    ours = resized_positions(jnp.asarray(table.reshape(36, 8)), jnp.int32([[9, 1]]), num_patches=9)
    assert_same(ours[0], theirs, atol=5e-6)
