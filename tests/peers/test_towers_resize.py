"""Positions are resized as open_clip resizes them on load."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from open_clip.model import resize_pos_embed, resize_text_pos_embed

from vlp.models.resize import resize_positions

WIDTH, PATCH = 16, 4


def their_image_positions(table, side):
    state = {"visual.positional_embedding": torch.tensor(table)}
    resize_pos_embed(state, SimpleNamespace(visual=SimpleNamespace(grid_size=(side, side))))
    return state["visual.positional_embedding"].numpy()


def their_text_positions(table, length):
    state = {"positional_embedding": torch.tensor(table)}
    resize_text_pos_embed(state, SimpleNamespace(positional_embedding=torch.empty(length, WIDTH)))
    return state["positional_embedding"].numpy()


def table(rows):
    return np.random.default_rng(0).normal(size=(rows, WIDTH)).astype(np.float32)


@pytest.mark.parametrize(("old", "new"), [(7, 12), (12, 7), (16, 5), (4, 24), (6, 6)])
def test_grids_of_patches(old, new):
    kwargs = {"image": dict(image_size=PATCH * old, patch_size=PATCH), "text": None}
    params = {"image": {"positions": table(old**2 + 1)}}
    _, resized = resize_positions(kwargs, params, image_size=PATCH * new)
    want = their_image_positions(params["image"]["positions"], new)
    np.testing.assert_allclose(resized["image"]["positions"], want, atol=1e-5)


@pytest.mark.parametrize(("old", "new"), [(7, 12), (16, 77), (10, 10)])
def test_longer_texts(old, new):
    kwargs = {"image": None, "text": dict(length=old)}
    params = {"text": {"positions": table(old)}}
    _, resized = resize_positions(kwargs, params, text_length=new)
    want = their_text_positions(params["text"]["positions"], new)
    np.testing.assert_allclose(resized["text"]["positions"], want, atol=1e-5)
