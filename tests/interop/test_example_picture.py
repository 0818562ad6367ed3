"""The picture beside every export: a red heart that no stack has to resize."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from data_pipelines.images import ImagePreprocess, NaflexPreprocess
from tests.interop.tiny import make_run
from vlp.interop.export import export
from vlp.interop.samples import EXAMPLE, heart, write_example


def test_it_is_a_red_heart_on_white():
    pixels = np.asarray(heart(96)).astype(int)
    red, green, blue = pixels[40, 48]
    assert red > 180 and green < 80 and blue < 100
    assert (pixels[:4] == 255).all() and (pixels[:, :4] == 255).all()
    np.testing.assert_array_equal(pixels, pixels[:, ::-1])
    notch, lobe = pixels[14, 48], pixels[14, 32]
    assert notch.min() > lobe.min()  # two lobes


@pytest.mark.parametrize(
    "settings",
    [
        dict(resize="squash"),
        dict(resize="shortest", resize_size=28),
        dict(resize="longest", interpolation="bilinear"),
        dict(resize="squash", interpolation="bilinear_tensorflow"),
    ],
)
def test_its_pixels_reach_the_model_as_they_are(settings, tmp_path):
    used = ImagePreprocess(24, **settings)
    run = dataclasses.replace(make_run("clip"), preprocess=used)
    write_example(run, tmp_path)
    with Image.open(tmp_path / EXAMPLE) as opened:
        picture = np.asarray(opened)
    side = settings.get("resize_size", 24)
    first = (side - 24) // 2
    assert picture.shape == (side, side, 3)
    inner = picture[first : first + 24, first : first + 24]
    np.testing.assert_array_equal(used(tmp_path / EXAMPLE)[0], inner)


def test_a_model_of_several_shapes_gets_a_square_of_all_its_patches(tmp_path):
    used = NaflexPreprocess(patch_size=4, max_num_patches=17)
    write_example(dataclasses.replace(make_run("clip"), preprocess=used), tmp_path)
    with Image.open(tmp_path / EXAMPLE) as picture:
        assert picture.size == (16, 16)


def test_it_lies_beside_every_image_tower_and_no_other(tmp_path):
    run = make_run("siglip")
    export(run, tmp_path / "both", check="numpy")
    assert (tmp_path / "both" / EXAMPLE).is_file()
    export(run, tmp_path / "text", to="stablehlo", towers="text")
    assert not (tmp_path / "text" / EXAMPLE).exists()
