"""Crops and operations of photographs against torchvision's, on given parameters."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import (
    AutoAugment,
    AutoAugmentPolicy,
    ColorJitter,
    InterpolationMode,
    RandomResizedCrop,
)
from torchvision.transforms import functional as theirs
from torchvision.transforms.autoaugment import _apply_op

from data_pipelines import autoaugment, photo_ops
from data_pipelines.crops import random_box
from data_pipelines.photo_augment import PhotoAugment
from data_pipelines.photos import open_photo
from tests.odd_images import picture, saved

IMAGE = Image.fromarray(picture(60, 80))
NAMES = {
    "ShearX": "shear_x", "Rotate": "rotate", "Color": "saturation", "Contrast": "contrast",
    "Sharpness": "sharpness", "Posterize": "posterise", "Solarize": "solarise",
    "AutoContrast": "autocontrast", "Equalize": "equalise", "Invert": "invert",
}  # fmt: skip


class Drawn:
    """A tensor that takes its uniform number from NumPy's generator."""

    def __init__(self, rng):
        self._rng = rng

    def uniform_(self, low, high):
        return torch.tensor(self._rng.uniform(float(low), float(high)), dtype=torch.float64)


@pytest.fixture
def torch_draws(monkeypatch):
    """Lets torch draw from a generator of NumPy, at full precision."""

    def draw_from(seed):
        rng = np.random.default_rng(seed)
        integers = lambda low, high, size: torch.tensor(rng.integers(low, high))  # noqa: E731
        monkeypatch.setattr(torch, "empty", lambda _: Drawn(rng))
        monkeypatch.setattr(torch, "randint", integers)

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield draw_from
    torch.set_default_dtype(before)


@pytest.mark.parametrize("size", [(60, 80), (80, 60), (10, 300), (300, 10)])
@pytest.mark.parametrize("area", [(0.08, 1.0), (0.9, 1.0)])
def test_a_crop_is_that_of_the_same_random_numbers(torch_draws, size, area):
    ratio, image = (3 / 4, 4 / 3), Image.new("RGB", size[::-1])
    for seed in range(50):
        box = random_box(*size, np.random.default_rng(seed), area=area, ratio=ratio)
        torch_draws(seed)
        top, left, high, wide = RandomResizedCrop.get_params(image, list(area), list(ratio))
        assert tuple(box) == (left, top, left + wide, top + high)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
def test_a_crop_shows_what_theirs_shows(interpolation):
    data, mode = saved(IMAGE, "JPEG", quality=90), InterpolationMode(interpolation)
    decoded = Image.open(io.BytesIO(data))
    photo = open_photo(data, background=(255, 255, 255), max_pixels=2**26)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        box = random_box(60, 80, rng, area=(0.08, 1.0), ratio=(3 / 4, 4 / 3))
        place = (box.top, box.left, box.height, box.width)
        crop = theirs.resized_crop(decoded, *place, [96, 96], mode)
        found = photo.show(box, size=96, interpolation=interpolation)
        np.testing.assert_array_equal(found, np.asarray(crop))


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colours_change_as_theirs(name, factor):
    expected = getattr(theirs, f"adjust_{name}")(IMAGE, factor)
    np.testing.assert_array_equal(getattr(photo_ops, name)(IMAGE, factor), expected)


@pytest.mark.parametrize("turns", [-0.5, -0.21, 0.0, 0.003, 0.25, 0.5])
def test_hues_turn_as_theirs(turns):
    np.testing.assert_array_equal(photo_ops.hue(IMAGE, turns), theirs.adjust_hue(IMAGE, turns))


def test_grey_and_solarised_are_theirs():
    np.testing.assert_array_equal(photo_ops.grey(IMAGE), theirs.to_grayscale(IMAGE, 3))
    np.testing.assert_array_equal(photo_ops.solarise(IMAGE), theirs.solarize(IMAGE, 128))


def test_strengths_mean_the_ranges_that_they_mean_there():
    jitter = ColorJitter(0.4, 1.5, 0.0, 0.1)
    assert jitter.brightness == (0.6, 1.4) and jitter.contrast == (0.0, 2.5)
    assert jitter.saturation is None and jitter.hue == (-0.1, 0.1)
    # Those that test_photo_augment finds of the same strengths.


def test_policies_and_their_operations_are_theirs():
    peer = AutoAugment(AutoAugmentPolicy.IMAGENET)
    ours = [
        [(name, chance, level) for name, chance, level in policy] for policy in autoaugment.POLICIES
    ]
    assert ours == [
        [(NAMES[name], chance, level or 0) for name, chance, level in policy]
        for policy in peer.policies
    ]
    space = peer._augmentation_space(10, (60, 80))
    for name, own in NAMES.items():
        magnitudes, signed = space[name]
        for level in range(10 if magnitudes.ndim else 1):
            value = float(magnitudes[level] if magnitudes.ndim else 0)
            for sign in (1, -1) if signed else (1,):
                expected = _apply_op(IMAGE, name, sign * value, InterpolationMode.NEAREST, None)
                found = autoaugment.OPERATIONS[own](IMAGE, sign * level / 9)
                levels = np.abs(np.asarray(found).astype(int) - np.asarray(expected))
                # Their strengths are of single precision, which rounds a value the other way.
                assert levels.max() <= 1 and levels.mean() < 0.02, (name, level, sign)


def test_a_photograph_is_augmented_as_in_open_clip(torch_draws):
    """Its training transform, on the same random numbers, where a crop has few pixels."""
    from open_clip.transform import image_transform

    data = saved(IMAGE, "JPEG", quality=90)
    transform = image_transform(64, is_train=True, mean=(0.0,) * 3, std=(1.0,) * 3)
    for seed in range(10):
        augment = PhotoAugment(64, crop=(0.9, 1.0), interpolation="bicubic")
        found = augment.of_file(data, np.random.default_rng(seed))
        torch_draws(seed)
        expected = transform.transforms[0](Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(found, np.asarray(expected))
