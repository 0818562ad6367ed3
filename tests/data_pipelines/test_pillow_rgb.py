"""Pictures as the benchmarks' own programs decode them."""

import io

import numpy as np
import pytest
from PIL import Image

from data_pipelines.faults import Reject
from data_pipelines.pillow_rgb import DEEP, TRANSPARENT, TURNED, pillow_rgb
from tests.odd_images import exif, odd_images, picture, saved

FILES = odd_images()
ODD = {
    "turned jpeg": TURNED,
    "rgba": TRANSPARENT,
    "grey with alpha": TRANSPARENT,
    "palette with transparency": TRANSPARENT,
    "sixteen bits": DEEP,
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_pillow_s_own_and_what_is_odd_about_them_is_said(name):
    found = pillow_rgb(FILES[name])
    theirs = np.asarray(Image.open(io.BytesIO(FILES[name])).convert("RGB"))
    np.testing.assert_array_equal(found.pixels, theirs)
    assert found.odd == ODD.get(name, "")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_rotation_is_said_and_not_done(kind):
    file = saved(Image.fromarray(picture(30, 40)), kind, exif=exif(6))
    found = pillow_rgb(file)
    assert (found.pixels.shape, found.odd) == ((30, 40, 3), TURNED)


def test_a_file_that_is_cut_is_rejected_and_the_next_one_is_read():
    with pytest.raises(Reject):
        pillow_rgb(FILES["rgba"][:200])
    assert pillow_rgb(FILES["rgba"]).odd == TRANSPARENT


@pytest.mark.parametrize("size", [(97, 131), (640, 481), (8, 1500)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpegs_of_every_layout_have_pillow_s_pixels(size, subsampling, mode):
    image = Image.fromarray(picture(*size)).convert(mode)
    for more in ({}, {"progressive": True}):
        file = saved(image, "JPEG", quality=83, subsampling=subsampling, **more)
        theirs = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        np.testing.assert_array_equal(pillow_rgb(file).pixels, theirs)
