"""Each image once and in order, captions as one list, bad ones counted and not in the way."""

import numpy as np
import pytest
from data_makers import encoded, pairs, pixels, write_tar

from data_pipelines.evaluation import Deal, eval_captions, eval_images
from data_pipelines.faults import REASONS
from data_pipelines.images import ImagePreprocess
from data_pipelines.naflex import NaflexPatches, NaflexPreprocess
from data_pipelines.sources import TarSource
from data_pipelines.sources.part import PartSource


@pytest.fixture
def source(tmp_path):
    members = pairs(7)
    members[6] = ("0002.png", b"<html>")
    members[10] = ("0003.captions", b"fine\ncaf\xe9\nalso fine")
    members[13] = ("0004.captions", b"\xff")
    del members[16]  # 0005.captions
    return TarSource(write_tar(tmp_path / "a.tar", members))


@pytest.mark.parametrize("threads", [0, 2])
def test_images_come_once_in_order_and_the_last_batch_is_filled(source, threads):
    preprocess = ImagePreprocess(8)
    batches = list(eval_images(source, preprocess, batch_size=3, num_threads=threads))
    np.testing.assert_array_equal(
        [batch["id"] for batch in batches], [[0, 1, 2], [3, 4, 5], [6, -1, -1]]
    )
    np.testing.assert_array_equal(
        [batch["weight"] for batch in batches], [[1, 1, 0], [1, 1, 1], [1, 0, 0]]
    )
    rejects = np.concatenate([batch["reject"] for batch in batches])
    assert rejects.nonzero()[0].tolist() == [2]
    assert REASONS[rejects[2] - 1] == "image not recognised"
    for batch in batches:
        assert batch["image"].shape == (3, 8, 8, 3)
        for index, image in zip(batch["id"], batch["image"], strict=True):
            good = index not in (2, -1)
            expected = preprocess(encoded(pixels(index)))[0] if good else np.zeros((8, 8, 3))
            np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("processes", [2, 3, 9])
def test_dealt_out_each_image_comes_to_one_process_in_as_many_batches(source, processes):
    preprocess = ImagePreprocess(8)
    dealt = [
        list(eval_images(source, preprocess, batch_size=2, num_threads=0, deal=Deal(i, processes)))
        for i in range(processes)
    ]
    assert len({len(batches) for batches in dealt}) == 1
    ids = np.concatenate([batch["id"] for batches in dealt for batch in batches])
    np.testing.assert_array_equal(np.sort(ids[ids >= 0]), np.arange(7))
    whole = {
        index: image
        for batch in eval_images(source, preprocess, batch_size=7)
        for index, image in zip(batch["id"], batch["image"], strict=True)
    }
    for batch in (batch for batches in dealt for batch in batches):
        for index, image in zip(batch["id"], batch["image"], strict=True):
            np.testing.assert_array_equal(image, whole.get(index, np.zeros((8, 8, 3))))


def test_what_fails_on_one_process_fills_a_row_and_is_handed_on(source, monkeypatch):
    def unreadable(index):
        raise OSError("Input/output error")

    monkeypatch.setattr(source, "image", unreadable)
    failures = []
    deal = Deal(0, 2, failures)
    batches = list(eval_images(source, ImagePreprocess(8), batch_size=2, num_threads=0, deal=deal))
    assert len(batches) == 2 and len(failures) == 4
    assert not any(batch["weight"].any() or batch["reject"].any() for batch in batches)
    with pytest.raises(OSError, match="Input/output"):
        list(eval_images(source, ImagePreprocess(8), batch_size=2, num_threads=0))


def test_first_captions_name_their_image_and_bad_ones_are_left_out_and_counted(source):
    texts, ids, rejects = eval_captions(source)
    assert texts == ["caption 0", "caption 1", "caption 2", "fine", "caption 6"]
    np.testing.assert_array_equal(ids, [0, 1, 2, 3, 6])
    assert ids.dtype == np.int64
    assert rejects == {"caption missing": 1, "caption not utf-8": 1}


def test_all_captions_name_their_image(source):
    texts, ids, _ = eval_captions(source, captions="all")
    np.testing.assert_array_equal(ids, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 6, 6, 6])
    assert texts[9:12] == ["fine", "also fine", "caption 6"]


def test_values_out_of_range_are_refused(source):
    with pytest.raises(ValueError, match='must be "first" or "all", got \'some\''):
        eval_captions(source, captions="some")
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        eval_images(source, ImagePreprocess(8), batch_size=0)


def test_images_cut_into_patches_come_the_same_way(source):
    preprocess = NaflexPreprocess(patch_size=2, max_num_patches=12)
    first, second, third = eval_images(source, preprocess, batch_size=3)
    for batch in (first, second, third):
        assert isinstance(batch["image"], NaflexPatches)
        assert batch["image"].patches.shape == (3, 12, 12)
    assert first["weight"].tolist() == [1, 1, 0] and third["id"].tolist() == [6, -1, -1]
    for batch, row, index in ((first, 1, 1), (second, 2, 5), (third, 0, 6)):
        expected = preprocess(encoded(pixels(index)))
        for field, whole in zip(batch["image"], expected, strict=True):
            np.testing.assert_array_equal(field[row], whole[0])
    # Rows without an image are whole images too: no mask is empty, no grid without patches.
    assert first["image"].mask[2].any() and third["image"].grid.min() >= 1


def test_a_part_counts_its_samples_from_zero(source):
    part = PartSource(source, 2, 5)
    assert len(part) == 3 and part.key(0) == source.key(2)
    assert part.image(1) == source.image(3) and part.captions(0) == source.captions(2)
    assert part[0] == source[2]
    texts, ids, _ = eval_captions(part)
    assert texts == ["caption 2", "fine"] and ids.tolist() == [0, 1]
    (batch,) = eval_images(part, ImagePreprocess(8), batch_size=4)
    assert batch["id"].tolist() == [0, 1, 2, -1] and batch["weight"].tolist() == [0, 1, 1, 0]
    assert part.fingerprint not in (source.fingerprint, PartSource(source, 2, 4).fingerprint)


def test_a_part_lies_within_its_source(source):
    for first, stop in ((-1, 2), (3, 2), (2, 8)):
        with pytest.raises(ValueError, match=f"within the 7 samples .* got {first} to {stop}"):
            PartSource(source, first, stop)
    part = PartSource(source, 2, 5)
    for index in (-1, 3):
        with pytest.raises(IndexError):
            part.image(index)


@pytest.mark.parametrize("shape", [(1, 20), (3, 40), (4, 4), (30, 1), (1, 1)])
def test_pictures_of_few_rows_are_pictures_like_others(shape, tmp_path):
    picture = encoded(pixels(0, height=shape[0], width=shape[1]))
    source = TarSource(write_tar(tmp_path / "a.tar", [("a.png", picture), ("a.txt", b"thin")]))
    for preprocess in (ImagePreprocess(8), NaflexPreprocess(patch_size=2, max_num_patches=4)):
        (batch,) = eval_images(source, preprocess, batch_size=1)
        assert batch["weight"].tolist() == [1]
        found, expected = batch["image"], preprocess(picture)
        for one, same in zip(*map(_fields, (found, expected)), strict=True):
            np.testing.assert_array_equal(one, same)


def _fields(images):
    return images if isinstance(images, tuple) else (images,)
