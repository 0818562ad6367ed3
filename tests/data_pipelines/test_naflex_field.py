"""Training pictures at their own aspect ratio: patches as in evaluation, but augmented."""

import dataclasses
import pickle

import numpy as np
import pytest
from data_makers import encoded, write_tar
from photo_options import OPTIONS
from PIL import Image

from data_pipelines.assemble import empty_batch
from data_pipelines.augmentation import photo_augmentation
from data_pipelines.fields import Example
from data_pipelines.loader import make_loader
from data_pipelines.naflex import NaflexPreprocess
from data_pipelines.naflex_field import NaflexPictures
from data_pipelines.photo_augment import PhotoAugment
from data_pipelines.slots import Slots
from data_pipelines.sources import TarSource
from tests.odd_images import picture, saved

CUT = NaflexPreprocess(patch_size=8, max_num_patches=12)
SHAPES = [(40, 90), (90, 40), (20, 20), (8, 200), (7, 3)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Pictures of several shapes, the last two as JPEG."""
    files = [(f"{i}.png", encoded(picture(*shape))) for i, shape in enumerate(SHAPES[:3])]
    jpeg = [saved(Image.fromarray(picture(*shape)), "JPEG") for shape in SHAPES[3:]]
    files += [(f"{i}.jpg", data) for i, data in enumerate(jpeg, 3)]
    captions = [(f"{i}.txt", b"a picture") for i in range(len(SHAPES))]
    return TarSource(write_tar(tmp_path_factory.mktemp("shapes") / "a.tar", files + captions))


def field(cut=CUT, **settings):
    return NaflexPictures(photo_augmentation(**{"interpolation": "bilinear"} | settings), cut)


def shown(source, index, *, epoch=0, **settings):
    return field(**settings)(Example(source, index, epoch=epoch, seed=0))


def size_of(row):
    """Height and width in pixels."""
    return row["grid"] * CUT.patch_size


def test_rows_of_a_batch_are_those_of_evaluation_where_nothing_is_augmented(source):
    stream = make_loader(
        source, fields={"image": field()}, global_batch_size=5, seed=1, num_threads=2
    )
    batch = next(stream)
    stream.close()
    want = CUT([source.image(index) for index in batch["id"]])
    assert batch["weight"].all() and len({tuple(grid) for grid in want.grid}) > 2
    for name in want._fields:
        np.testing.assert_array_equal(batch["image"][name], getattr(want, name), err_msg=name)


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_alone_changes_wide_and_high_pictures(source, name):
    for index in (0, 1):
        plain = shown(source, index)
        rows = [shown(source, index, epoch=k, **{name: OPTIONS[name]}) for k in range(4)]
        assert max(np.abs(row["patches"] - plain["patches"].astype(int)).mean() for row in rows) > 1
        assert all(row["mask"].sum() == row["grid"].prod() <= 12 for row in rows)


def test_a_crop_keeps_the_shape_of_its_picture(source):
    for index, wide in ((0, True), (1, False)):
        for epoch in range(8):
            height, width = size_of(shown(source, index, epoch=epoch, crop=(0.3, 0.9)))
            assert bool(width > height) == wide


def test_the_ratio_of_a_crop_is_relative_to_the_picture(source):
    twice = shown(source, 2, crop=(0.1, 0.2), ratio=(3.0, 3.0))
    height, width = size_of(twice)
    assert width >= 2 * height


def test_a_flip_is_the_picture_from_right_to_left(source):
    plain, flipped = shown(source, 0), shown(source, 0, flip_p=1.0)
    rows, columns = plain["grid"]

    def pixels(row):
        cells = row["patches"][: rows * columns].reshape(rows, columns, 8, 8, 3)
        return cells.transpose(0, 2, 1, 3, 4).reshape(rows * 8, columns * 8, 3)

    np.testing.assert_array_equal(pixels(flipped), pixels(plain)[:, ::-1])


def test_epochs_differ_and_the_same_place_is_the_same(source):
    first, again, later = (shown(source, 0, epoch=k, crop=(0.2, 0.9)) for k in (0, 0, 1))
    assert first == again and first != later


def test_a_row_without_a_picture_has_one_black_patch():
    row = field().absent
    assert row["mask"].tolist() == [True] + 11 * [False]
    assert row["grid"].tolist() == [1, 1] and not row["patches"].any()


def test_workers_hand_rows_over_whole(source):
    made = field()
    row = made(Example(source, 0, epoch=0, seed=0))
    slots = Slots(empty_batch(1) | {"image": np.zeros(1, made.absent.dtype)}, rows=3, workers=1)
    slots.rows(1, 3)["image"][2] = row
    assert pickle.loads(pickle.dumps(slots)).rows(1, 3)["image"][2] == row


def test_the_field_pickles(source):
    example = Example(source, 0, epoch=3, seed=0)
    made = field(crop=(0.2, 0.9), blur_p=0.5)
    assert pickle.loads(pickle.dumps(made))(example) == made(example)


def test_settings_of_drawings_and_sizes_are_refused():
    with pytest.raises(ValueError, match="augmented as photographs, rotate, warp is of drawings"):
        photo_augmentation(warp=0.1, rotate=3.0, crop=(0.5, 1.0))
    with pytest.raises(ValueError, match="no size of their own, got an augmentation to 48 pixels"):
        NaflexPictures(PhotoAugment(48), CUT)
    with pytest.raises(ValueError, match="a square picture needs a size of at least 8 pixels"):
        photo_augmentation().of_file(b"", np.random.default_rng(0))


def test_every_option_of_photographs_is_listed_here():
    of_others = {"size", "ratio", "background", "jitter_p", "interpolation", "_"}
    assert OPTIONS.keys() == {f.name for f in dataclasses.fields(PhotoAugment)} - of_others
