"""Parts of photographs: what Pillow makes of them, from fewer pixels, and without aliasing."""

import io

import numpy as np
import pytest
from PIL import Image

from data_pipelines import photos
from data_pipelines.augment import Augment
from data_pipelines.crops import Box, random_box
from data_pipelines.decode import decode, decode_plain
from data_pipelines.faults import Reject
from data_pipelines.photos import open_photo
from data_pipelines.pixels import flatten
from tests.odd_images import exif, odd_images, picture, saved

WHITE = (255, 255, 255)
ODD = odd_images()


def photograph(height=384, width=512):
    """Soft shapes and some grain, as a camera sees them."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(7 * x * (k + 1)) * np.cos(5 * y + k) for k in range(3)]
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    rgb = 120 + 90 * np.stack(waves, axis=-1) + grain
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


def jpeg(image, **settings):
    return saved(image, "JPEG", quality=90, **settings)


def opened(data, max_pixels=2**26):
    return open_photo(data, background=WHITE, max_pixels=max_pixels)


def pillows(data, box, size):
    """Everything decoded, then cropped, then resized."""
    rgb = Image.fromarray(flatten(decode(data), WHITE))
    return np.asarray(rgb.crop(tuple(box)).resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("turned", range(1, 9))
def test_a_part_with_few_pixels_is_what_pillow_makes_of_it(turned):
    data = jpeg(photograph(90, 130), exif=exif(turned))
    photo = opened(data)
    assert (photo.height, photo.width) == decode(data).shape[:2]
    for box in (Box(3, 5, 60, 70), Box(0, 0, photo.width, photo.height), Box(80, 80, 81, 82)):
        found = photo.show(box, size=128, interpolation="bicubic")
        np.testing.assert_array_equal(found, pillows(data, box, 128))


@pytest.mark.parametrize("name", ODD)
def test_files_of_every_kind_show_what_pillow_makes_of_them(name):
    photo = opened(ODD[name])
    found = photo.show(photo.whole, size=128, interpolation="bicubic")
    np.testing.assert_array_equal(found, pillows(ODD[name], photo.whole, 128))


@pytest.mark.parametrize("name", ODD)
def test_files_without_opacity_are_decoded_to_the_same_colours(name):
    plain, full = decode_plain(ODD[name]), decode(ODD[name])
    np.testing.assert_array_equal(plain, full[..., : plain.shape[-1]])
    assert plain.shape[-1] == 4 or (full[..., 3] == 255).all()


@pytest.mark.parametrize("turned", [1, 6])
@pytest.mark.parametrize(
    ("side", "size", "eighths"), [(384, 224, 5), (384, 96, 2), (384, 48, 1), (250, 224, 8)]
)
def test_a_part_is_decoded_at_the_fewest_eighths_that_fill_the_output(
    monkeypatch, turned, side, size, eighths
):
    seen = []

    def watched(data, **how):
        seen.append(decoder(data, **how))
        return seen[-1]

    decoder = photos.jpeg_rgb
    monkeypatch.setattr(photos, "jpeg_rgb", watched)
    data = jpeg(photograph(), exif=exif(turned))
    photo = opened(data)
    assert not seen
    box = Box(0, 0, side, side)
    found = photo.show(box, size=size, interpolation="bicubic").astype(int)
    assert seen[0].shape[:2] == (photo.height * eighths // 8, photo.width * eighths // 8)
    difference = np.abs(found - pillows(data, box, size))
    assert difference.mean() < 1.5 and difference.max() < 16


def test_a_part_lies_where_it_lies_at_every_scale():
    ramp = np.broadcast_to(np.linspace(0, 255, 800)[None, :, None], (600, 800, 3))
    data = jpeg(Image.fromarray(ramp.astype(np.uint8)))
    for size in (30, 70, 100, 150, 199):
        for left in (0, 133, 517):
            box = Box(left, 100, left + 200, 300)
            found = opened(data).show(box, size=size, interpolation="bicubic")
            middle = (left + (np.arange(size) + 0.5) * 200 / size - 0.5) * 255 / 799
            assert np.abs(found[size // 2, 2:-2, 0] - middle[2:-2]).max() < 2.5


@pytest.mark.parametrize(("side", "size"), [(400, 250), (480, 250), (480, 320)])
def test_stripes_too_fine_to_be_shown_fade(side, size):
    """Crops of `Augment`, which mix four pixels each, show broad stripes that are not there.

    A decoded file gives what Pillow does. A JPEG that is decoded smaller leaves more of what only
    the highest frequency holds, less than half of `Augment`'s.
    """
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    image, box = Image.fromarray(stripes), Box(10, 10, 10 + side, 10 + side)
    png = saved(image, "PNG")
    augment = Augment(size, crop=((side / 512) ** 2,) * 2)
    sampled = augment(decode(png), np.random.default_rng(0)).std()
    for file in (png, saved(image, "JPEG", quality=95, subsampling=0)):
        found = opened(file).show(box, size=size, interpolation="bicubic")[4:-4, 4:-4]
        assert abs(found.mean() - 127.5) < 3 and found.std() < 0.45 * sampled


def test_crops_are_whole_pixels_inside_of_the_shape_that_is_asked_for():
    rng = np.random.default_rng(0)
    for height, width in ((300, 400), (400, 300), (64, 64)):
        for _ in range(200):
            box = random_box(height, width, rng, area=(0.2, 0.9), ratio=(3 / 4, 4 / 3))
            assert all(isinstance(side, int) for side in box)
            assert 0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height
            assert 0.72 < box.width / box.height < 1.39
            assert 0.18 < box.width * box.height / (height * width) < 0.92


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(10, 1000, (493, 0, 506, 10)), (1000, 10, (0, 493, 10, 506)), (1, 1, (0, 0, 1, 1))],
)
def test_what_no_crop_fits_gives_its_centre(height, width, box):
    rng = np.random.default_rng(0)
    assert random_box(height, width, rng, area=(1, 1), ratio=(3 / 4, 4 / 3)) == Box(*box)


def test_files_that_cannot_be_used_are_rejected_with_their_reason():
    data = jpeg(photograph())
    photo = opened(data[: len(data) // 2])
    with pytest.raises(Reject, match="image truncated"):
        photo.show(photo.whole, size=64, interpolation="bicubic")
    with pytest.raises(Reject, match="image too large: 512 x 384"):
        opened(data, max_pixels=1000)
    with pytest.raises(Reject, match="image too large"):
        opened(saved(Image.fromarray(picture(50, 50)), "PNG"), max_pixels=1000)
    for junk in (b"", b"\xff\xd8", b"<html>"):
        with pytest.raises(Reject):
            opened(junk)


def test_only_the_header_is_read_to_open_a_jpeg():
    data = jpeg(photograph(600, 900))
    assert opened(data[:2000]).whole == Box(0, 0, 900, 600)
    assert Image.open(io.BytesIO(data)).size == (900, 600)
