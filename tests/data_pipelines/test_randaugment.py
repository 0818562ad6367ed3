"""RandAugment: the authors' operations at the authors' strength, each as often as any other."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from data_pipelines import randaugment as module
from data_pipelines.randaugment import OPERATIONS, randaugment

# What `dataset/randaugment.py` of ALBEF makes of `picture()` at level 7, all directions positive:
# the channels' means over the left half, then over the lower half. Run with OpenCV 5.0.
AUTHORS = {
    "identity": (60.00, 115.00, 106.98, 124.00, 175.00, 109.53),
    "autocontrast": (61.25, 127.04, 143.86, 127.03, 193.58, 147.30),
    "equalize": (90.00, 165.00, 122.68, 166.31, 242.00, 127.02),
    "brightness": (81.12, 149.71, 145.02, 157.22, 225.00, 148.48),
    "sharpness": (60.00, 115.00, 106.70, 124.00, 175.00, 109.27),
    "shear_x": (62.62, 110.68, 110.02, 111.45, 168.82, 111.72),
    "shear_y": (62.98, 108.79, 105.54, 124.00, 142.47, 114.73),
    "translate_x": (116.00, 115.00, 108.95, 146.75, 164.72, 115.57),
    "translate_y": (79.83, 143.58, 103.28, 126.33, 162.17, 120.29),
    "rotate": (76.73, 99.34, 104.58, 108.65, 157.93, 98.66),
}
MOVES = ("shear_x", "shear_y", "rotate")  # by half a pixel otherwise


def picture():
    """Two gradients and waves, with a 0 in every channel: 24 rows, 32 columns."""
    y, x = np.mgrid[:24, :32]
    waves = 110 + 80 * np.sin(x / 5) * np.cos(y / 4)
    rgb = np.stack([8 * x, 10 * y, waves], axis=-1).astype(np.uint8)
    rgb[0, 0] = 0
    return rgb


@pytest.mark.parametrize("name", AUTHORS)
def test_an_operation_is_the_authors(name):
    found = np.asarray(OPERATIONS[name](Image.fromarray(picture()), 0.7))
    means = (*found[:, :16].mean((0, 1)), *found[12:].mean((0, 1)))
    np.testing.assert_allclose(means, AUTHORS[name], atol=2.0 if name in MOVES else 0.01)


def test_every_operation_has_the_authors_numbers():
    assert set(AUTHORS) == set(OPERATIONS)


@pytest.mark.parametrize("name", ["shear_x", "shear_y", "translate_x", "translate_y", "rotate"])
def test_moves_go_both_ways_and_leave_grey(name):
    image = Image.new("RGB", (40, 40))
    there, back = (np.asarray(OPERATIONS[name](image, share)) for share in (1.0, -1.0))
    assert (there == 128).any() and (back == 128).any() and not np.array_equal(there, back)
    np.testing.assert_array_equal(OPERATIONS[name](image, 0.0), image)


def test_bytes_never_overflow():
    # The authors' do: sharpened lines wrap around from white to black, and stretching what holds
    # no black makes all white, as -60 is 196.
    lines = np.zeros((9, 9, 3), np.uint8)
    lines[:, ::3] = 255
    sharp = np.asarray(OPERATIONS["sharpness"](Image.fromarray(lines), 1.0))
    np.testing.assert_array_equal(sharp, lines)
    dim = Image.fromarray(np.uint8(60 + picture() // 4))
    stretched = np.asarray(OPERATIONS["autocontrast"](dim, 0.7))
    assert (stretched.min((0, 1)) == 0).all() and (stretched.max((0, 1)) >= 254).all()


def test_operations_are_drawn_alike_and_half_are_left_out(monkeypatch):
    seen = Counter()

    def counting(name):
        def run(image, share):
            seen[name, share] += 1
            return image

        return run

    monkeypatch.setattr(module, "OPERATIONS", {name: counting(name) for name in OPERATIONS})
    rng, draws = np.random.default_rng(0), 4000
    for _ in range(draws):
        randaugment(picture(), rng, count=2, strength=7)
    each = 2 * draws / 2 / 20  # two are drawn, one of them used, of ten in two directions
    assert len(seen) == 20
    assert all(abs(count - each) < 5 * each**0.5 for count in seen.values())
    assert {share for _, share in seen} == {0.7, -0.7}


def test_it_is_a_function_of_the_generator_and_leaves_its_input():
    before = picture()
    frozen = picture()
    frozen.flags.writeable = False
    first, again = (
        [randaugment(frozen, np.random.default_rng(s), count=3, strength=9) for s in range(20)]
        for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({image.tobytes() for image in first}) > 15
    np.testing.assert_array_equal(frozen, before)
