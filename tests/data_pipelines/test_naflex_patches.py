"""Patches at the image's own aspect ratio."""

import numpy as np
import pytest
from data_makers import encoded, pixels
from PIL import Image

from data_pipelines.naflex import NaflexPreprocess

PHOTO = pixels(0, height=50, width=81)


def test_patches_put_together_are_the_resized_image():
    preprocess = NaflexPreprocess(patch_size=4, max_num_patches=40)
    patches, mask, grid = preprocess(PHOTO)
    rows, columns = grid[0]
    image = Image.fromarray(PHOTO).resize((columns * 4, rows * 4), Image.Resampling.BILINEAR)
    cells = patches[0, : rows * columns].reshape(rows, columns, 4, 4, 3)
    whole = cells.transpose(0, 2, 1, 3, 4).reshape(rows * 4, columns * 4, 3)
    np.testing.assert_array_equal(whole, np.asarray(image))


def test_shapes_and_types_do_not_depend_on_the_images():
    out = NaflexPreprocess(patch_size=4, max_num_patches=40)([PHOTO, PHOTO[:5], encoded(PHOTO)])
    assert (out.patches.shape, out.patches.dtype) == ((3, 40, 48), np.uint8)
    assert (out.mask.shape, out.mask.dtype) == ((3, 40), np.bool_)
    assert (out.grid.shape, out.grid.dtype) == ((3, 2), np.int32)
    np.testing.assert_array_equal(out.mask.sum(axis=1), out.grid.prod(axis=1))
    assert (out.patches[~out.mask] == 0).all()
    np.testing.assert_array_equal(out.patches[0], out.patches[2])


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (640, 480), (3000, 4000), (17, 16)])
@pytest.mark.parametrize("most", [1, 7, 64, 256])
def test_a_grid_fits_and_one_larger_both_ways_would_not(shape, most):
    rows, columns = NaflexPreprocess(patch_size=16, max_num_patches=most).grid(*shape)
    assert min(rows, columns) >= 1
    assert rows * columns <= most < (rows + 1) * (columns + 1)


def test_a_single_pixel_grows_to_a_hundred():
    assert NaflexPreprocess(patch_size=16).grid(1, 1) == (7, 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 0}, "patch_size must be a whole number of at least 1, got 0"),
        ({"max_num_patches": 2.5}, "max_num_patches must be a whole number"),
        ({"interpolation": "bilinear_tensorflow"}, "interpolation must be one of bicubic"),
        ({"background": (0, 0, 999)}, "background must be 3 values"),
        ({"std": (0, 1, 1)}, "std above 0"),
    ],
)
def test_values_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NaflexPreprocess(**settings)
