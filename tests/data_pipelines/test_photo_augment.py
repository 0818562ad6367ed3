"""Augmentation of photographs: seeded, and every option does what it says."""

import dataclasses
import pickle
from collections import Counter

import numpy as np
import pytest
from data_makers import write_tar
from photo_options import OPTIONS as WITHOUT_FILTER
from PIL import Image

from data_pipelines import autoaugment as policies
from data_pipelines import photo_ops
from data_pipelines.augment import Augment
from data_pipelines.augmentation import augmentation
from data_pipelines.fields import Example, Pictures
from data_pipelines.opening import open_source
from data_pipelines.photo_augment import PhotoAugment
from tests.odd_images import picture, saved

OPTIONS = {"interpolation": "nearest", **WITHOUT_FILTER}
# They say how others are done.
OF_OTHERS = {"size", "ratio", "background", "jitter_p"}
DATA = saved(Image.fromarray(picture(90, 120)), "JPEG", quality=90)


def augmented(seed=0, data=DATA, **options):
    augment = PhotoAugment(48, **options)
    return augment.of_file(data, np.random.default_rng(seed))


def test_every_option_is_listed_here():
    names = {field.name for field in dataclasses.fields(PhotoAugment)}
    assert names - {"_"} == OPTIONS.keys() | OF_OTHERS


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_alone_changes_the_picture(name):
    plain = augmented().astype(int)
    changed = [augmented(seed, **{name: OPTIONS[name]}) for seed in range(5)]
    assert all(image.shape == (48, 48, 3) and image.dtype == np.uint8 for image in changed)
    assert max(np.abs(image - plain).mean() for image in changed) > 0.5


def test_nothing_happens_that_was_not_asked_for():
    image = Image.fromarray(picture(90, 120))
    whole = image.resize((48, 48), Image.Resampling.BICUBIC)
    for seed in range(5):
        found = augmented(seed, saved(image, "PNG"), interpolation="bicubic")
        np.testing.assert_array_equal(found, whole)


def test_a_filter_by_simd_is_the_usual_one_and_a_level_from_pillows():
    how = dict(seed=5, data=saved(Image.fromarray(picture(90, 120)), "PNG"), crop=(0.8, 1.0))
    usual = augmented(**how)
    fast, exact = (augmented(**how, interpolation=name) for name in ("bicubic_simd", "bicubic"))
    np.testing.assert_array_equal(usual, fast)
    difference = np.abs(usual.astype(int) - exact)
    assert 0 < difference.max() <= 1


def test_result_is_a_function_of_file_and_generator_alone_in_any_process():
    augment = PhotoAugment(48, **OPTIONS)
    again = pickle.loads(pickle.dumps(augment))
    for seed in range(10):
        first = augment.of_file(DATA, np.random.default_rng(seed))
        np.testing.assert_array_equal(first, again.of_file(DATA, np.random.default_rng(seed)))
    assert len({augmented(seed, **OPTIONS).tobytes() for seed in range(10)}) == 10


def test_turning_one_off_changes_no_other():
    crop = dict(crop=(0.3, 0.8))
    for seed in range(20):
        flipped = augmented(seed, **crop, flip_p=0.5)
        shown = augmented(seed, **crop)
        assert np.array_equal(flipped, shown) or np.array_equal(flipped, shown[:, ::-1])
        grey = augmented(seed, **crop, flip_p=0.5, grey_p=1.0)
        np.testing.assert_array_equal(grey, photo_ops.grey(Image.fromarray(flipped)))


@pytest.mark.parametrize("name", ["flip_p", "grey_p", "blur_p", "solarise_p", "cutout_p"])
def test_a_probability_is_how_often(name):
    plain = augmented()
    changed = [not np.array_equal(augmented(s, **{name: 0.3}), plain) for s in range(200)]
    assert 0.2 < np.mean(changed) < 0.4


def test_colours_are_changed_as_often_as_asked():
    plain = augmented()
    often = dict(brightness=0.5, jitter_p=0.3)
    changed = [not np.array_equal(augmented(s, **often), plain) for s in range(200)]
    assert 0.2 < np.mean(changed) < 0.4


def test_transparent_pixels_show_the_background():
    rgba = np.zeros((60, 60, 4), np.uint8)
    data = saved(Image.fromarray(rgba), "PNG")
    assert (augmented(data=data, background=(0, 0, 90)) == (0, 0, 90)).all()


def test_operations_are_their_formulas():
    rgb = picture(32, 40)
    image = Image.fromarray(rgb)
    np.testing.assert_array_equal(
        np.asarray(photo_ops.solarise(image)), np.where(rgb < 128, rgb, 255 - rgb)
    )
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    grey = np.asarray(photo_ops.grey(image)).astype(int)
    assert np.abs(grey - luma[..., None]).max() <= 1
    darker = np.asarray(photo_ops.brightness(image, 0.5)).astype(int)
    assert np.abs(darker - rgb / 2).max() <= 1
    dull = np.asarray(photo_ops.saturation(image, 0.25)).astype(int)
    assert np.abs(dull - (0.25 * rgb + 0.75 * luma[..., None])).max() <= 1.5
    flat = np.asarray(photo_ops.contrast(image, 0.25)).astype(int)
    assert np.abs(flat - (0.25 * rgb + 0.75 * luma.mean())).max() <= 1.5
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    assert np.asarray(photo_ops.hue(red, 1 / 3))[0, 0] == pytest.approx([0, 255, 0], abs=6)
    np.testing.assert_array_equal(photo_ops.hue(red, 0.0), red)


def test_a_blur_is_a_gaussian():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    wide = np.asarray(photo_ops.blur(Image.fromarray(np.repeat(point, 1, 0)), 2.0)).astype(float)
    place = np.arange(41) - 20
    spread = (wide[..., 0].sum(0) * place**2).sum() / wide[..., 0].sum()
    assert spread**0.5 == pytest.approx(2, rel=0.15)
    assert [photo_ops.sigma(share) for share in (0.0, 1.0)] == [0.1, 2.0]


def test_factors_are_uniform_between_one_less_and_one_more(monkeypatch):
    seen = {name: [] for name in ("brightness", "contrast", "saturation", "hue")}
    steps = []

    def watched(name):
        def run(image, value):
            seen[name].append(value)
            steps.append(name)
            return image

        return run

    named = tuple(watched(name) for name in seen)
    monkeypatch.setattr(photo_ops, "_COLOURS", named)
    monkeypatch.setattr(photo_ops, "hue", named[3])
    image, rng = Image.new("RGB", (2, 2)), np.random.default_rng(0)
    for _ in range(400):
        photo_ops.jitter(image, rng, strengths=(0.4, 1.5, 0.0, 0.1))
    assert not seen["saturation"]
    ranges = {"brightness": (0.6, 1.4), "contrast": (0.0, 2.5), "hue": (-0.1, 0.1)}
    for name, (low, high) in ranges.items():
        values, step = np.array(seen[name]), (high - low) / 10
        assert low <= values.min() < low + step and high - step < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=step / 2)
    orders = Counter(tuple(steps[i : i + 3]) for i in range(0, 1200, 3))
    assert len(orders) == 6 and min(orders.values()) > 35


def test_policies_are_drawn_alike_and_their_steps_as_often_as_they_say(monkeypatch):
    seen = Counter()

    def counting(name):
        def run(image, share):
            seen[name] += 1
            return image

        return run

    named = {name: counting(name) for name in policies.OPERATIONS}
    monkeypatch.setattr(policies, "OPERATIONS", named)
    rng, draws = np.random.default_rng(0), 5000
    for _ in range(draws):
        policies.autoaugment(np.zeros((8, 8, 3), np.uint8), rng)
    wanted = Counter()
    for policy in policies.POLICIES:
        for name, chance, _ in policy:
            wanted[name] += chance * draws / len(policies.POLICIES)
    assert seen.keys() == wanted.keys() == policies.OPERATIONS.keys()
    assert all(abs(seen[name] - n) < 5 * n**0.5 for name, n in wanted.items())


def test_a_crop_is_of_photographs_unless_a_drawing_is_asked_for():
    assert augmentation(48, crop=(0.5, 1.0), flip_p=0.5) == PhotoAugment(
        48, crop=(0.5, 1.0), flip_p=0.5
    )
    assert augmentation(48, interpolation="bilinear").crop is None
    for settings in ({}, dict(flip_p=0.5), dict(crop=(0.5, 1.0), shear=0.1), dict(warp=0.1)):
        assert isinstance(augmentation(48, **settings), Augment)
    with pytest.raises(ValueError, match=r"photographs \(ratio\) or of drawings \(rotate, warp\)"):
        augmentation(48, ratio=(1, 1), rotate=3, warp=0.1)
    with pytest.raises(TypeError, match="wrap"):
        augmentation(48, crop=(0.5, 1.0), wrap=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(size=4), "size must be at least 8"),
        (dict(crop=(0.5, 1.5)), r"crop must be .* <= 1, got"),
        (dict(ratio=(2, 1)), "ratio must be"),
        (dict(hue=0.6), "hue is in turns .* at most 0.5, got 0.6"),
        (dict(grey_p=1.5), "grey_p is a probability and must be in 0..1, got 1.5"),
        (dict(brightness=-1), "brightness must not be negative"),
        (dict(interpolation="cubic"), "interpolation must be one of"),
        (dict(randaugment=(0, 7)), "at least 1 operation"),
        (dict(background=(0, 0, 300)), "background must be 3 values in 0..255"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        PhotoAugment(**(dict(size=48) | options))


def test_a_field_hands_over_the_file_itself(tmp_path):
    tar = write_tar(tmp_path / "a.tar", [("0.jpg", DATA), ("0.txt", b"a photograph")])
    source = open_source(tar)
    augment = PhotoAugment(48, crop=(0.3, 0.8), flip_p=0.5)
    shown = Pictures(augment, size=48)(Example(source, 0, epoch=3, seed=7))
    rng = np.random.default_rng([2, 7, 3, 0])
    rng.random(2)  # of its caption
    np.testing.assert_array_equal(shown, augment.of_file(DATA, rng))
