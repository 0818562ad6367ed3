"""Augmentation: seeded, in range, and every option does what it says."""

import dataclasses
import pickle
import time

import numpy as np
import pytest

from data_pipelines.augment import Augment
from data_pipelines.augmentation import augmentation
from data_pipelines.filters import bilinear, blur, colour_matrix, dilate, edges, median, mix
from data_pipelines.styles import Styles

# Every effect that a drawing style is free to choose.
STYLES = dict(
    scale=(0.75, 1.08), shift=0.06, aspect=0.15, shear=0.1, rotate=10.0, warp=0.04, brightness=0.2,
    contrast=0.2, saturation=0.3, hue=0.02, curve=0.3, palette=0.04, shade=0.15, gloss_p=0.1,
    flat_p=0.25, posterise_p=0.2, edges_p=0.15, outline_p=0.3, erode_p=0.1, shadow_p=0.1,
    background_p=0.3, blur_p=0.2, noise_p=0.15, cutout_p=0.1,
)  # fmt: skip


@pytest.fixture(scope="module")
def picture():
    """A disc with soft shading, eyes and fine dots, and a transparent surrounding."""
    v, u = np.mgrid[-1:1:64j, -1:1:64j]
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., 0] = 200 - 40 * v
    rgba[..., 1] = 150 + 40 * u
    rgba[..., 2] = 60
    rgba[(abs(u) - 0.3) ** 2 + (v + 0.2) ** 2 < 0.02] = (40, 20, 10, 255)
    rgba[::4, ::4, 2] = 255
    rgba[..., 3] = np.where(u**2 + v**2 < 0.6, 255, 0)
    return rgba


def augmented(picture, seed=0, size=48, **options):
    """Of a drawing, whatever else is said: a warp of 0 is a style with all off."""
    return augmentation(size, **({"warp": 0.0} | options))(picture, np.random.default_rng(seed))


def test_result_is_a_function_of_the_generator_alone(picture):
    augment = augmentation(48, **STYLES)
    first = [augment(picture, np.random.default_rng(seed)) for seed in range(20)]
    again = [augment(picture, np.random.default_rng(seed)) for seed in reversed(range(20))]
    assert all((a == b).all() for a, b in zip(first, reversed(again), strict=True))
    assert len({image.tobytes() for image in first}) == 20


def test_another_process_gets_the_same_picture(picture):
    augment = pickle.loads(pickle.dumps(augmentation(48, **STYLES)))
    expected = augmentation(48, **STYLES)(picture, np.random.default_rng(3))
    np.testing.assert_array_equal(augment(picture, np.random.default_rng(3)), expected)


def test_nothing_happens_that_was_not_asked_for():
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 4), np.uint8)
    noise[..., 3] = 255
    for seed in range(5):
        same = Augment(48)(noise, np.random.default_rng(seed))
        np.testing.assert_allclose(same, noise[..., :3], atol=1)  # a rounding, of two conversions
    on = {name for name, value in dataclasses.asdict(Augment(48)).items() if value}
    assert on == {"size", "scale", "background"}
    assert (Augment(48).scale, Augment(48).background) == ((1.0, 1.0), (255, 255, 255))


PHOTOGRAPHS = {field.name for field in dataclasses.fields(Augment)} - {"size", "style"}


def test_settings_that_name_no_style_get_none(picture):
    assert augmentation(48).style is None
    photo = {name: STYLES[name] for name in PHOTOGRAPHS & set(STYLES)}
    plain = augmentation(48, **photo)
    assert plain.style is None
    with_one = augmentation(48, **photo, warp=0.0)
    assert with_one.style == Styles()
    for seed in range(5):  # a style with all off is none
        plainly, idly = (a(picture, np.random.default_rng(seed)) for a in (plain, with_one))
        np.testing.assert_array_equal(plainly, idly)


def test_a_setting_of_no_augmentation_is_refused():
    with pytest.raises(TypeError, match="wrap"):
        augmentation(48, wrap=0.1)


@pytest.mark.parametrize("size", [8, 31, 48, 64])
def test_any_size_gives_bytes_of_that_size(picture, size):
    image = augmented(picture, size=size)
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_input_stays_as_it_was(picture):
    before = picture.copy()
    frozen = picture.copy()
    frozen.flags.writeable = False
    for seed in range(20):
        augmentation(48, **STYLES)(frozen, np.random.default_rng(seed))
    np.testing.assert_array_equal(frozen, before)


def test_everything_off_at_the_same_size_is_the_picture_over_its_background(picture):
    alpha = picture[..., 3:] / 255
    expected = picture[..., :3] * alpha + np.array([10, 20, 30]) * (1 - alpha)
    image = augmented(picture, size=64, background=(10, 20, 30))
    np.testing.assert_allclose(image, expected, atol=1)


OPTIONS = {
    "scale": (0.5, 0.6),
    "shift": 0.2,
    "crop": (0.2, 0.3),
    "aspect": 0.5,
    "shear": 0.5,
    "rotate": 40,
    "warp": 0.2,
    "brightness": 0.5,
    "contrast": 0.5,
    "saturation": 0.9,
    "hue": 0.3,
    "curve": 0.5,
    "palette": 0.2,
    "shade": 0.5,
    **{
        f"{name}_p": 1
        for name in "gloss flat posterise edges outline erode shadow background blur noise".split()
    },
    "cutout_p": 1,
    "flip_p": 1,
    "randaugment": (4, 10),
    "background": (0, 0, 90),
}


def test_every_option_is_listed_here():
    fields = {field.name for make in (Augment, Styles) for field in dataclasses.fields(make)}
    assert set(OPTIONS) == fields - {"size", "style"}


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_alone_changes_the_picture(picture, name):
    plain = augmented(picture).astype(int)
    changed = [augmented(picture, seed, **{name: OPTIONS[name]}) for seed in range(5)]
    assert max(np.abs(image - plain).mean() for image in changed) > 0.5


@pytest.mark.parametrize(
    "name", sorted(set(OPTIONS) - {"scale", "crop", "background", "randaugment"})
)
def test_zero_turns_an_option_off(picture, name):
    np.testing.assert_array_equal(augmented(picture, 1, **{name: 0}), augmented(picture, 2))


def test_pictures_outside_the_frame_show_the_background(picture):
    image = augmented(picture, scale=(0.5, 0.5), background=(0, 0, 90))
    assert (image[:12] == (0, 0, 90)).all() and (image[:, -12:] == (0, 0, 90)).all()


def test_a_crop_of_a_wide_photo_keeps_its_proportions():
    photo = np.zeros((100, 300, 4), np.uint8)
    photo[..., 3] = 255
    photo[..., 0] = np.linspace(0, 255, 300)
    photo[..., 1] = np.linspace(0, 255, 100)[:, None]
    image = augmented(photo, size=32, crop=(0.1, 0.1)).astype(float)
    across = np.diff(image[..., 0], axis=1).mean() * 300
    down = np.diff(image[..., 1], axis=0).mean() * 100
    assert across == pytest.approx(down, rel=0.05)


def test_a_full_crop_of_a_square_photo_is_all_of_it(picture):
    np.testing.assert_array_equal(augmented(picture, crop=(1.0, 1.0)), augmented(picture))


def test_large_photos_do_not_alias():
    photo = np.full((512, 512, 4), 255, np.uint8)
    photo[::2, :, :3] = 0
    photo[:, ::2, :3] = 0
    image = augmented(photo, size=32)
    assert image.std() < 3 and image.mean() == pytest.approx(255 / 4, abs=2)


def test_hidden_colours_under_transparency_do_not_show(picture):
    hidden = picture.copy()
    hidden[picture[..., 3] == 0, :3] = (255, 0, 255)
    for seed in range(10):
        a = augmentation(48, **(STYLES | dict(cutout_p=0)))(picture, np.random.default_rng(seed))
        b = augmentation(48, **(STYLES | dict(cutout_p=0)))(hidden, np.random.default_rng(seed))
        np.testing.assert_array_equal(a, b)


def test_left_and_right_are_exchanged_as_often_as_asked(picture):
    mirrored = augmented(picture[:, ::-1])
    np.testing.assert_array_equal(augmented(picture, flip_p=1), mirrored)
    flipped = [np.array_equal(augmented(picture, s, flip_p=0.3), mirrored) for s in range(300)]
    assert 0.2 < np.mean(flipped) < 0.4


def test_left_and_right_are_never_exchanged_unasked(picture):
    marked = picture.copy()
    marked[24:40, 8:24, :3] = (255, 0, 0)
    marked[24:40, 40:56, :3] = (0, 0, 255)
    marked[..., 3] = 255
    for seed in range(50):
        image = augmentation(48, **(STYLES | dict(cutout_p=0)))(
            marked, np.random.default_rng(seed)
        ).astype(int)
        redness = image[..., 0] - image[..., 2]
        assert redness[:, :24].mean() > redness[:, 24:].mean()


def test_skin_tones_stay_in_their_order():
    # The emoji modifiers' approximate colours, light to dark.
    tones = [(250, 220, 190), (225, 185, 145), (190, 140, 100), (155, 100, 60), (90, 65, 50)]
    swatches = np.full((64, 64, 4), 255, np.uint8)
    for i, tone in enumerate(tones):
        swatches[:, round(i * 12.8) : round((i + 1) * 12.8), :3] = tone
    kept = 0
    for seed in range(100):
        image = augmentation(40, **COLOURS)(swatches, np.random.default_rng(seed))
        luma = image.reshape(40, 5, 8, 3)[:, :, 2:6].mean((0, 2, 3))
        kept += (np.diff(luma) < 0).all()
    assert kept >= 95


COLOURS = {
    name: STYLES[name]
    for name in ("brightness", "contrast", "saturation", "hue", "curve", "palette")
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(size=4), "size must be at least 8"),
        (dict(blur_p=1.5), "blur_p is a probability and must be in 0..1, got 1.5"),
        (dict(hue=-0.1), "hue must not be negative, got -0.1"),
        (dict(warp=float("nan")), "warp must not be negative"),
        (dict(scale=(0, 1)), "scale must be"),
        (dict(scale=(1.2, 0.8)), "scale must be"),
        (dict(randaugment=(0, 7)), r"randaugment must be .* at least 1 operation .* got \(0, 7\)"),
        (dict(randaugment=(2, 11)), r"strength from 0 to 10, got \(2, 11\)"),
        (dict(crop=(0.5, 1.5)), r"crop must be .* <= 1, got"),
        (dict(background=(0, 0, 300)), "background must be RGB in 0..255"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        augmentation(**(dict(size=48) | options))


@pytest.mark.parametrize("shape", [(64, 64, 3), (64, 64), (1, 64, 64, 4)])
def test_images_without_four_channels_are_refused(shape):
    with pytest.raises(ValueError, match=r"image must be uint8 \[h, w, 4\]"):
        Augment(48)(np.zeros(shape, np.uint8), np.random.default_rng(0))


def test_an_image_costs_little_time(picture):
    # A loose bound that holds on a busy machine too; an idle core takes about 0.25 ms.
    augment = augmentation(48, **STYLES)
    start = time.process_time()
    for seed in range(200):
        augment(picture, np.random.default_rng(seed))
    assert (time.process_time() - start) / 200 < 2e-3


def test_bilinear_samples_match_the_formula():
    rng = np.random.default_rng(0)
    planes = rng.random((2, 5, 7)).astype(np.float32)
    x, y = rng.uniform(0, 6, (3, 4)), rng.uniform(0, 4, (3, 4))
    got = bilinear(planes, x.astype(np.float32), y.astype(np.float32))
    for i, j in np.ndindex(3, 4):
        column = np.maximum(0, 1 - abs(np.arange(7) - x[i, j]))
        row = np.maximum(0, 1 - abs(np.arange(5) - y[i, j]))
        np.testing.assert_allclose(got[:, i, j], row @ planes @ column, atol=1e-5)


def test_bilinear_is_zero_far_outside_and_fades_over_one_pixel():
    planes = np.ones((1, 4, 4), np.float32)
    x = np.array([[-50, -0.5, 0, 3, 3.5, 50]], np.float32)
    got = bilinear(planes, x, np.full_like(x, 1.5))
    np.testing.assert_allclose(got[0, 0], [0, 0.5, 1, 1, 0.5, 0], atol=2e-3)


def test_filters_match_loops():
    image = np.random.default_rng(0).random((6, 5)).astype(np.float32)
    padded = np.pad(image, 1, mode="edge")
    cross = [padded[1:-1, 1:-1], padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2]]
    np.testing.assert_array_equal(dilate(image), np.max([*cross, padded[1:-1, 2:]], 0))
    columns = np.median([padded[:-2], padded[1:-1], padded[2:]], 0)
    both = np.median([columns[:, :-2], columns[:, 1:-1], columns[:, 2:]], 0)
    np.testing.assert_array_equal(median(image, passes=1), both)
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    soft = [[(padded[i : i + 3, j : j + 3] * kernel).sum() for j in range(5)] for i in range(6)]
    np.testing.assert_allclose(blur(image), soft, rtol=1e-5)


def test_a_flat_picture_has_no_edges_and_a_step_has():
    rgb = np.zeros((3, 8, 8), np.float32)
    assert edges(rgb, gain=6).max() == 0
    rgb[:, :, 4:] = 1
    assert edges(rgb, gain=6)[:, 3:5].min() == 1 and edges(rgb, gain=6)[:, :2].max() == 0


def test_colour_matrices_keep_grey_grey():
    matrix = colour_matrix(gain=1.0, saturation=0.3, turn=0.2)
    grey = np.full((3, 2, 2), 0.4, np.float32)
    np.testing.assert_allclose(mix(matrix, grey), grey, atol=1e-6)


def test_a_third_of_the_hue_circle_turns_red_into_green_or_blue():
    turned = colour_matrix(gain=1.0, saturation=1.0, turn=1 / 3) @ np.array([1, 0, 0])
    assert sorted(np.round(turned, 5)) == [0, 0, 1] and turned[0] < 1e-5
