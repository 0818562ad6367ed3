"""Evaluation preprocessing against Pillow's own steps."""

import json

import jax
import numpy as np
import pytest
from data_makers import encoded, pixels
from PIL import Image

from data_pipelines.faults import Reject
from data_pipelines.images import ImagePreprocess, NaflexPreprocess, open_preprocess
from data_pipelines.pixels import flatten

PHOTO = pixels(0, height=50, width=81)


def pillow(array, size, box=None):
    image = Image.fromarray(array).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image.crop(box) if box else image)


def test_squash_is_pillows_antialiased_resize():
    np.testing.assert_array_equal(ImagePreprocess(16)(PHOTO)[0], pillow(PHOTO, (16, 16)))


def test_shortest_cuts_out_the_centre():
    # 81 / 50 * 16 = 25.92: 25 columns; the cut begins at (25 - 16) // 2 = 4.
    expected = pillow(PHOTO, (25, 16), (4, 0, 20, 16))
    np.testing.assert_array_equal(ImagePreprocess(16, resize="shortest")(PHOTO)[0], expected)
    nearly_square = np.ascontiguousarray(PHOTO[:, :60])  # 19.2 columns: from 3 // 2 = 1
    expected = pillow(nearly_square, (19, 16), (1, 0, 17, 16))
    out = ImagePreprocess(16, resize="shortest")(nearly_square)[0]
    np.testing.assert_array_equal(out, expected)
    tall = np.ascontiguousarray(PHOTO.swapaxes(0, 1))
    expected = pillow(tall, (16, 25), (0, 4, 16, 20))
    np.testing.assert_array_equal(ImagePreprocess(16, resize="shortest")(tall)[0], expected)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos", "box", "nearest"])
def test_the_centre_has_the_bits_of_the_whole_resized(interpolation):
    kind = Image.Resampling[interpolation.upper()]
    rng = np.random.default_rng(0)
    for number, (between, size) in enumerate([(40, 40), (48, 40), (70, 33), (40, 40)] * 6):
        height, width = rng.integers(8, 300, 2).tolist()
        array = pixels(number, height=height, width=width)
        short = min(height, width)
        whole = tuple(int(between * n / short) if n > short else between for n in (width, height))
        left, top = ((n - size) // 2 for n in whole)
        expected = Image.fromarray(array).resize(whole, kind)
        expected = expected.crop((left, top, left + size, top + size))
        preprocess = ImagePreprocess(
            size, resize="shortest", resize_size=between, interpolation=interpolation
        )
        if max(whole) <= 16 * size:  # longer ones are within a level, see below
            np.testing.assert_array_equal(preprocess(array)[0], np.asarray(expected))


def test_longest_pads_with_the_background():
    out = ImagePreprocess(16, resize="longest", background=(1, 2, 3))(PHOTO)[0]
    np.testing.assert_array_equal(out[3:13], pillow(PHOTO, (16, 10)))
    assert (out[:3] == [1, 2, 3]).all() and (out[13:] == [1, 2, 3]).all()


def test_a_larger_resize_cuts_the_borders_off():
    # 36 / 32 of the output: two pixels from each side.
    out = ImagePreprocess(32, resize_size=36)(PHOTO)[0]
    np.testing.assert_array_equal(out, pillow(PHOTO, (36, 36), (2, 2, 34, 34)))
    out = ImagePreprocess(32, resize="shortest", resize_size=36)(PHOTO)[0]
    np.testing.assert_array_equal(out, pillow(PHOTO, (58, 36), (13, 2, 45, 34)))


def test_a_smaller_resize_adds_borders():
    out = ImagePreprocess(16, resize_size=10, fill=(1, 2, 3))(PHOTO)[0]
    np.testing.assert_array_equal(out[3:13, 3:13], pillow(PHOTO, (10, 10)))
    out[3:13, 3:13] = [1, 2, 3]
    assert (out == [1, 2, 3]).all()


@pytest.mark.parametrize(
    ("rounding", "first"), [("down", {17: 0, 19: 1, 21: 2}), ("even", {17: 0, 19: 2, 21: 2})]
)
def test_a_centre_begins_at_the_pixel_that_the_rounding_says(rounding, first):
    for width, left in first.items():
        array = pixels(3, height=16, width=width)
        out = ImagePreprocess(16, resize="shortest", rounding=rounding)(array)[0]
        np.testing.assert_array_equal(out, array[:, left : left + 16])


@pytest.mark.parametrize("shape", [(3, 200), (200, 3), (2, 333), (40, 1000)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos", "nearest"])
def test_long_pictures_are_the_centre_of_the_whole_resized(shape, interpolation):
    array = pixels(4, height=shape[0], width=shape[1])
    preprocess = ImagePreprocess(16, resize="shortest", interpolation=interpolation)
    short, long = min(shape), max(shape)
    wide, high = (int(16 * n / short) if n == long else 16 for n in (shape[1], shape[0]))
    left, top = (wide - 16) // 2, (high - 16) // 2
    kind = Image.Resampling[interpolation.upper()]
    whole = Image.fromarray(array).resize((wide, high), kind)
    expected = np.asarray(whole.crop((left, top, left + 16, top + 16)), np.int32)
    assert np.abs(preprocess(Image.fromarray(array))[0] - expected).max() <= 1


@pytest.mark.parametrize("shape", [(50, 81), (16, 16), (5, 200), (7, 3), (1, 1)])
def test_tensorflows_resize_is_the_bilinear_one_without_antialiasing(shape):
    array = pixels(5, height=shape[0], width=shape[1])
    out = ImagePreprocess(16, interpolation="bilinear_tensorflow")(Image.fromarray(array))
    out = out[0].astype(np.int32)
    exact = jax.image.resize(array.astype(np.float32), (16, 16, 3), "linear", antialias=False)
    # Fractions are dropped, and a rounding error may cross a whole number.
    low, high = np.floor(np.asarray(exact) - 1e-3), np.floor(np.asarray(exact) + 1e-3)
    assert ((low <= out) & (out <= high)).all()


def test_another_resolution_keeps_the_proportions():
    preprocess = ImagePreprocess(32, resize_size=36, mean=(0.1, 0.2, 0.3), rounding="even")
    larger = preprocess.resized(64)
    assert (larger.size, larger.resize_size) == (64, 72)
    assert larger.resized(32).to_dict() == preprocess.to_dict()


@pytest.mark.parametrize("resize", ["squash", "shortest", "longest"])
def test_the_whole_picture_is_squashed_whatever_is_cut_off_otherwise(resize):
    preprocess = ImagePreprocess(32, resize=resize, resize_size=40, interpolation="bilinear")
    image = pixels(0, height=50, width=90)
    squashed = ImagePreprocess(32, interpolation="bilinear")(image)
    np.testing.assert_array_equal(preprocess.whole(image), squashed)
    assert (preprocess(image) != squashed).any()


def test_an_image_of_the_right_size_passes_unchanged():
    array = pixels(1, height=16, width=16)
    for resize in ("squash", "shortest", "longest"):
        np.testing.assert_array_equal(ImagePreprocess(16, resize=resize)(array)[0], array)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30000), (30000, 1), (3, 5)])
@pytest.mark.parametrize("resize", ["squash", "shortest", "longest"])
def test_extreme_shapes_stay_small(shape, resize):
    array = np.full((*shape, 3), 7, np.uint8)
    out = ImagePreprocess(8, resize=resize, background=(7, 7, 7))(Image.fromarray(array))
    np.testing.assert_array_equal(out, np.full((1, 8, 8, 3), 7))


def test_every_kind_of_input_gives_the_same_pixels_and_a_leading_axis(tmp_path):
    data = encoded(PHOTO)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    preprocess = ImagePreprocess(16)
    opaque = np.concatenate([PHOTO, np.full_like(PHOTO[..., :1], 255)], axis=-1)
    kinds = [path, str(path), data, Image.fromarray(PHOTO), PHOTO, opaque]
    batch = preprocess(kinds)
    assert (batch.shape, batch.dtype) == ((6, 16, 16, 3), np.uint8)
    for kind, row in zip(kinds, batch, strict=True):
        np.testing.assert_array_equal(row, batch[0])
        np.testing.assert_array_equal(preprocess(kind), batch[:1])
        np.testing.assert_array_equal(preprocess([kind]), batch[:1])
    np.testing.assert_array_equal(preprocess(np.stack([PHOTO, PHOTO])), batch[:2])
    assert preprocess([]).shape == (0, 16, 16, 3)


def test_grey_arrays_and_images_become_rgb():
    grey = PHOTO[..., 0]
    expected = ImagePreprocess(16)(grey[..., None].repeat(3, axis=-1))
    for kind in (grey, grey[..., None], Image.fromarray(grey)):
        np.testing.assert_array_equal(ImagePreprocess(16)(kind), expected)


def test_transparent_pixels_show_the_background_and_hide_their_colour():
    rgba = np.zeros((6, 6, 4), np.uint8)
    rgba[..., :3] = [200, 0, 0]
    rgba[:, 3:, 3] = 255
    out = ImagePreprocess(6, background=(0, 255, 0))(rgba)[0]
    assert (out[:, :3] == [0, 255, 0]).all() and (out[:, 3:] == [200, 0, 0]).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 7)])
def test_an_image_handed_over_is_not_changed(shape):
    rgba = pixels(3, height=shape[0], width=shape[1], channels=4) & 127
    before = rgba.copy()
    flatten(rgba, (10, 100, 250))
    ImagePreprocess(4)(Image.fromarray(rgba))
    np.testing.assert_array_equal(rgba, before)


def test_flattening_is_the_rounded_blend():
    rgba = pixels(2, height=30, width=30, channels=4)
    alpha = rgba[..., 3:] / 255
    expected = np.floor(rgba[..., :3] * alpha + np.array([10, 100, 250]) * (1 - alpha) + 0.5)
    assert np.abs(flatten(rgba, (10, 100, 250)) - expected).max() <= 1
    np.testing.assert_array_equal(flatten(rgba | [[[0, 0, 0, 255]]], (9, 9, 9)), rgba[..., :3])


def test_a_card_holds_all_of_it():
    preprocess = ImagePreprocess(
        20, resize="longest", interpolation="bilinear", background=(1, 2, 3), mean=(0.1, 0.2, 0.3)
    )
    again = ImagePreprocess.from_dict(json.loads(json.dumps(preprocess.to_dict())))
    assert again.to_dict() == preprocess.to_dict()
    np.testing.assert_array_equal(again(PHOTO), preprocess(PHOTO))


def test_a_card_from_before_there_were_kinds_means_what_it_meant():
    card = dict(size=20, resize="longest", interpolation="bilinear", background=[1, 2, 3])
    preprocess = open_preprocess(card | dict(mean=[0.5] * 3, std=[0.5] * 3))
    assert isinstance(preprocess, ImagePreprocess)
    settings = (preprocess.resize_size, preprocess.fill, preprocess.rounding)
    assert settings == (20, (1, 2, 3), "even")
    assert ImagePreprocess(20, resize="shortest").rounding == "down"


@pytest.mark.parametrize("made", [ImagePreprocess(8, fill=(1, 2, 3)), NaflexPreprocess()])
def test_a_card_says_which_kind(made):
    values = json.loads(json.dumps(made.to_dict()))
    again = open_preprocess(values)
    assert type(again) is type(made)
    assert again.to_dict() == made.to_dict()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"kind": "round"},
            "preprocess.kind must be one of square, naflex; got 'round'",
        ),
        ({"size": 8, "patch_size": 4}, "kind 'square' must have its own settings"),
        ({"kind": "naflex", "size": 8}, "kind 'naflex' must have its own settings"),
    ],
)
def test_a_card_of_another_kind_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        open_preprocess(values)


def test_a_bad_file_says_why(tmp_path):
    (tmp_path / "a.png").write_bytes(b"<html>")
    with pytest.raises(Reject, match="image not recognised"):
        ImagePreprocess(8)(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "size must be a whole number of at least 1, got 0"),
        ({"resize": "crop"}, "resize must be one of squash, shortest, longest; got 'crop'"),
        ({"interpolation": "area"}, "interpolation must be one of bicubic, bilinear"),
        ({"background": (0, 0, 256)}, "background must be 3 values in 0..255"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ({"mean": (1.0, float("nan"), 1.0)}, "3 finite values"),
        ({"resize_size": 8.0}, "resize_size must be a whole number of at least 1, got 8.0"),
        ({"rounding": "up"}, "rounding must be one of down, even; got 'up'"),
        ({"fill": (0, 0)}, "fill must be 3 values in 0..255"),
        (
            {"interpolation": "bilinear_tensorflow", "resize": "shortest"},
            "needs resize='squash' to the whole of 8 pixels, got 'shortest' to 8; take 'bilinear'",
        ),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        ImagePreprocess(**({"size": 8} | values))
