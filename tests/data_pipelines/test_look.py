import numpy as np
import pytest
from PIL import Image

from data_pipelines.jobs.look import look_at


def blots(seed, size=48):
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def look(image):
    return look_at(np.asarray(image.convert("RGBA")))


def differ(one, other):
    return (look(one).hash ^ look(other).hash).bit_count()


@pytest.mark.parametrize("size", [24, 33, 96, 300])
def test_a_scaled_picture_has_nearly_the_same_bits_and_another_one_other_bits(size):
    for seed in range(20):
        assert differ(blots(seed), blots(seed).resize((size, size), Image.Resampling.BICUBIC)) <= 3
        assert differ(blots(seed), blots(seed + 100)) > 8


def test_what_is_transparent_is_white_whatever_colour_it_hides():
    one, other = (np.full((16, 16, 4), c, np.uint8) for c in (0, 200))
    one[..., 3] = other[..., 3] = 0
    one[:4, :4] = other[:4, :4] = 255
    assert look_at(one) == look_at(other)
    assert look_at(one).small == b"\xff" * 192 and look_at(one).spread == 0


def test_contrast_is_the_deviation_of_the_brightness():
    halves = np.zeros((16, 16, 4), np.uint8)
    halves[..., 3] = 255
    halves[:8, :, :3] = 200
    assert 90 < look_at(halves).spread <= 100
