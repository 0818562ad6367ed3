"""Resizes by SIMD against Pillow's, where cykooz-resizer has a wheel; what is said where not."""

import importlib.util

import numpy as np
import PIL
import pytest
from PIL import Image

from data_pipelines import photos
from data_pipelines.crops import Box
from data_pipelines.images import ImagePreprocess
from data_pipelines.photo_augment import PhotoAugment
from data_pipelines.resize import FILTERS, resized
from data_pipelines.simd import SIMD, heights_first
from tests.odd_images import picture, saved
from vlp.interop.hf.processors import processor_config
from vlp.interop.open_clip.processing import write_preprocess as open_clip_preprocess

HERE = importlib.util.find_spec("cykooz_resizer") is not None
needed = pytest.mark.skipif(not HERE, reason="cykooz-resizer has no wheel here")


def pillows(rgb, shape, name, *, box=None, down_first=False):
    """Pillow's, a side at a time, so that any version takes the same order."""
    left, top, right, bottom = box or (0, 0, rgb.shape[1], rgb.shape[0])
    image = Image.fromarray(rgb)
    for is_down in (down_first, not down_first):
        width, height = image.size
        size = (width, shape[1]) if is_down else (shape[0], height)
        part = (0, top, width, bottom) if is_down else (left, 0, right, height)
        image = image.resize(size, FILTERS[name.removesuffix("_simd")], box=part)
    return np.asarray(image).astype(int)


@needed
@pytest.mark.parametrize("name", SIMD)
@pytest.mark.parametrize("size", [(512, 384), (300, 400), (225, 900), (224, 300)])
def test_a_smaller_picture_is_pillows_to_one_level(name, size):
    rgb, shape = picture(size[1], size[0]), (224, 224)
    found = resized(rgb, shape, interpolation=name).astype(int)
    levels = np.abs(found - pillows(rgb, shape, name, down_first=heights_first(rgb, shape)))
    assert levels.max() <= 1 and levels.mean() < 0.02


@needed
@pytest.mark.skipif(int(PIL.__version__.partition(".")[0]) < 13, reason="always rows first before")
def test_the_order_of_the_sides_is_pillows():
    rng = np.random.default_rng(0)
    for width, height, wide, high in rng.integers(8, 90, (200, 4)).tolist():
        rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
        ours = pillows(rgb, (wide, high), "bicubic", down_first=heights_first(rgb, (wide, high)))
        theirs = Image.fromarray(rgb).resize((wide, high), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(ours, theirs)


@needed
def test_a_part_is_pillows_to_one_level():
    rgb, box = picture(384, 512), (30.25, 11.5, 480.0, 371.75)
    found = resized(rgb, (160, 130), interpolation="bicubic_simd", box=box).astype(int)
    assert np.abs(found - pillows(rgb, (160, 130), "bicubic_simd", box=box)).max() <= 1


@needed
@pytest.mark.parametrize("size", [(512, 384), (300, 900), (150, 3000), (3000, 150)])
@pytest.mark.parametrize("resize", ["shortest", "squash", "longest"])
def test_preprocessing_is_pillows_to_one_level(resize, size):
    rgb = Image.fromarray(picture(size[1], size[0]))
    fast = ImagePreprocess(64, resize=resize, interpolation="bicubic_simd")(rgb).astype(int)
    assert np.abs(fast - ImagePreprocess(64, resize=resize)(rgb)).max() <= 1


@needed
def test_other_stacks_are_told_pillows_name():
    fast = ImagePreprocess(64, interpolation="bicubic_simd")
    assert open_clip_preprocess(fast)["interpolation"] == "bicubic"
    assert processor_config(fast, "clip") == processor_config(ImagePreprocess(64), "clip")


@needed
@pytest.mark.parametrize(
    ("side", "size", "halved"), [(384, 224, 1), (384, 150, 2), (384, 96, 4), (384, 40, 8)]
)
def test_jpegs_are_halved_as_often_as_the_crop_allows(monkeypatch, side, size, halved):
    seen, decoder = [], photos.jpeg_rgb

    def watched(data, **how):
        seen.append(decoder(data, **how))
        return seen[0]

    monkeypatch.setattr(photos, "jpeg_rgb", watched)
    data = saved(Image.fromarray(picture(384, 512)), "JPEG", quality=90)
    photo = photos.open_photo(data, background=(0, 0, 0), max_pixels=2**26)
    shown = photo.show(Box(0, 0, side, side), size=size, interpolation="bicubic_simd")
    assert seen[0].shape == (384 // halved, 512 // halved, 3) and shown.shape == (size, size, 3)


@pytest.mark.skipif(HERE, reason="it is installed")
@pytest.mark.parametrize("make", [ImagePreprocess, PhotoAugment])
def test_who_asks_for_what_is_not_installed_is_told_what_to_do(make):
    with pytest.raises(ValueError, match=r"needs cykooz-resizer .* pip install 'cykooz-resizer"):
        make(64, interpolation="bicubic_simd")
