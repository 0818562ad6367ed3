"""A stream by (seed, epoch, index): bad samples keep their place."""

import json
import logging
import os
import re

import numpy as np
import pytest
from data_makers import encoded, pair, pairs, pixels, write_tar
from small_loader import (
    COUNT,
    TOKENIZER,
    assert_equal,
    joined,
    loader,
    take,
    tar_with,
)

from data_pipelines.faults import REASONS
from data_pipelines.sources import TarSource

BAD = {
    "image empty": (b"", b"words"),
    "image not recognised": (b"<html></html>", b"words"),
    "image truncated": (encoded(pixels(3, height=40))[:700], b"words"),
    "caption empty": (encoded(pixels(3)), b" \n"),
    "caption not utf-8": (encoded(pixels(3)), b"caf\xe9"),
    "caption too long": (encoded(pixels(3)), b"a" * 70_000),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return TarSource(write_tar(tmp_path_factory.mktemp("data") / "a.tar", pairs(COUNT)))


def test_a_batch_has_the_agreed_arrays(source):
    batch = next(loader(source))
    shapes = {name: (value.dtype.name, value.shape) for name, value in batch.items()}
    assert shapes == {
        "image": ("uint8", (4, 4, 4, 3)),
        "text": ("int32", (4, 8)),
        "weight": ("float32", (4,)),
        "id": ("int64", (4,)),
        "reject": ("uint8", (4,)),
    }
    assert (batch["weight"] == 1).all() and (batch["reject"] == 0).all()


def test_rows_hold_the_pixels_and_the_caption_of_their_sample(source):
    batch = next(loader(source, image_transform=lambda rgba, _: rgba[:4, :4, :3], shuffle=False))
    np.testing.assert_array_equal(batch["id"], [0, 1, 2, 3])
    for row in range(4):
        np.testing.assert_array_equal(batch["image"][row], pixels(row)[:4, :4])
    first = [f"caption {i}" for i in range(4)]
    firsts = next(loader(source, shuffle=False, caption_first_probability=1.0))
    np.testing.assert_array_equal(firsts["text"], TOKENIZER.encode(first, 8))


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(source, threads):
    threaded = loader(source, num_threads=threads)
    assert_equal(take(threaded, 12), take(loader(source), 12))
    threaded.close()


@pytest.mark.parametrize("processes", [2, 4])
def test_the_shares_of_all_processes_are_the_global_batch(source, processes):
    shares = [
        take(loader(source, process_index=index, process_count=processes), 7)
        for index in range(processes)
    ]
    assert_equal(joined(shares), take(loader(source), 7))


def test_epochs_are_exact_and_batches_straddle_them(source):
    ids = np.concatenate([batch["id"] for batch in take(loader(source), 15)])
    epochs = ids.reshape(6, COUNT)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(COUNT), (6, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_a_finite_stream_ends_with_a_filled_batch(source):
    batches = list(loader(source, epochs=1, num_threads=2))
    assert [batch["weight"].sum() for batch in batches] == [4, 4, 2]
    np.testing.assert_array_equal(batches[-1]["id"][2:], [-1, -1])
    assert (batches[-1]["image"][2:] == 0).all() and (batches[-1]["text"][2:] == 0).all()
    assert_equal(batches[:2], take(loader(source), 2))


def test_rows_that_only_fill_a_batch_are_not_counted(source):
    finite = loader(source, epochs=1)
    assert len(list(finite)) == 3
    assert (finite.seen, finite.rejects, finite.samples_per_epoch) == (COUNT, {}, COUNT)
    assert next(finite, None) is None


def test_fewer_samples_than_a_batch_wrap_around(source):
    batch = next(loader(source, global_batch_size=25))
    assert set(np.bincount(batch["id"], minlength=COUNT)) == {2, 3}
    assert batch["weight"].sum() == 25


def test_seed_and_epoch_change_the_order_and_the_augmentation(source):
    first, other = (take(loader(source, seed=seed), 3) for seed in (1, 2))
    assert [batch["id"].tolist() for batch in first] != [batch["id"].tolist() for batch in other]
    in_order = take(loader(source, shuffle=False, global_batch_size=COUNT), 2)
    np.testing.assert_array_equal(in_order[0]["id"], in_order[1]["id"])
    assert not np.array_equal(in_order[0]["image"], in_order[1]["image"])


def test_the_first_caption_comes_as_often_as_asked(source):
    def share(probability):
        batch = next(loader(source, global_batch_size=1000, caption_first_probability=probability))
        texts = {tuple(row): i % 3 for i, row in enumerate(_all_captions(source))}
        return np.bincount([texts[tuple(row)] for row in batch["text"]], minlength=3) / 1000

    np.testing.assert_array_equal(share(1.0), [1, 0, 0])
    np.testing.assert_allclose(share(0.4), [0.4, 0.3, 0.3], atol=0.06)
    np.testing.assert_allclose(share(0.0), [0, 0.5, 0.5], atol=0.06)


def _all_captions(source):
    lines = [line.decode() for i in range(len(source)) for line in source.captions(i)]
    return TOKENIZER.encode(lines, 8)


def test_the_image_does_not_depend_on_the_captions(source, tmp_path):
    one = [m if not m[0].endswith("txt") else (m[0], b"one line") for m in pairs(COUNT)]
    other = TarSource(write_tar(tmp_path / "one.tar", one))
    batch, same = next(loader(source)), next(loader(other))
    np.testing.assert_array_equal(batch["image"], same["image"])


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_sample_is_a_row_of_weight_zero_and_its_neighbours_do_not_move(
    source, tmp_path, reason
):
    bad_loader = loader(tar_with(tmp_path, *BAD[reason]), max_reject_share=0.5)
    for good, bad in zip(take(loader(source), 10), take(bad_loader, 10), strict=True):
        np.testing.assert_array_equal(good["id"], bad["id"])
        hit = bad["id"] == 3
        np.testing.assert_array_equal(bad["weight"], np.where(hit, 0, 1))
        code = 1 + REASONS.index(reason)
        np.testing.assert_array_equal(bad["reject"], np.where(hit, code, 0))
        for name in ("image", "text"):
            assert (bad[name][hit] == 0).all()
            np.testing.assert_array_equal(bad[name][~hit], good[name][~hit])
    assert (bad_loader.seen, bad_loader.rejects) == (40, {reason: 4})


def test_counts_by_reason_add_up_and_survive_a_resume(tmp_path):
    members = pairs(COUNT)
    members[0] = ("0000.png", b"")
    members[4] = ("0001.txt", b"\xff")
    del members[6]
    source = TarSource(write_tar(tmp_path / "bad.tar", members))
    before = loader(source, max_reject_share=1.0)
    accepted = sum(batch["weight"].sum() for batch in take(before, 5))
    after = loader(source, max_reject_share=1.0)
    after.set_state(json.loads(json.dumps(before.get_state())))
    accepted += sum(batch["weight"].sum() for batch in take(after, 5))
    assert after.rejects == {"image empty": 4, "caption not utf-8": 4, "image missing": 4}
    assert after.seen == 40 == accepted + sum(after.rejects.values())


def test_each_reason_is_reported_once_with_the_sample(tmp_path, caplog):
    source = tar_with(tmp_path, b"", b"words")
    with caplog.at_level(logging.WARNING):
        take(loader(source, max_reject_share=0.5), 10)
    assert [r.getMessage() for r in caplog.records] == [
        "image empty in sample 3 (0003); more are only counted"
    ]


@pytest.mark.parametrize(("after", "seen"), [(8, 8), (9, 12), (1000, 12)])
def test_too_many_bad_samples_stop_the_run_after_a_fair_number_or_an_epoch(tmp_path, after, seen):
    source = tar_with(tmp_path, b"", b"words")
    stopping = loader(source, shuffle=False, max_reject_share=0.05, min_samples_before_stop=after)
    take(stopping, seen // 4 - 1)
    with pytest.raises(ValueError, match="at most 5.0% of the samples may be bad") as caught:
        next(stopping)
    assert f"(1 of {seen}) in bad: image empty 1; repair" in str(caught.value)


def test_a_batch_without_one_good_sample_is_a_batch_and_an_epoch_without_one_an_error(tmp_path):
    bad = [(f"{i}.png", b"") for i in range(6)]
    source = TarSource(write_tar(tmp_path / "a.tar", bad))
    lenient = loader(source, max_reject_share=1.0)
    batch = next(lenient)
    assert (batch["weight"] == 0).all() and (batch["text"] == 0).all()
    with pytest.raises(ValueError, match="a must hold samples that can be used, of 8 seen none"):
        next(lenient)


def test_what_was_seen_is_judged_however_little_it_is(tmp_path):
    source = tar_with(tmp_path, b"", b"words")
    little = loader(source, shuffle=False, max_reject_share=0.2)
    little.judge()
    take(little, 1)
    with pytest.raises(ValueError, match=r"got 25.0% \(1 of 4\) in bad: image empty 1"):
        little.judge()


def test_processes_are_judged_as_one(tmp_path):
    source = tar_with(tmp_path, b"", b"words")
    fair = loader(source, max_reject_share=0.2)
    fair.judge([(4, {"image empty": 1}), (4, {}), (4, {"caption empty": 1})])
    with pytest.raises(ValueError, match=r"\(3 of 12\) in bad: image empty 2, caption empty 1"):
        fair.judge([(4, {"image empty": 1}), (4, {"image empty": 1}), (4, {"caption empty": 1})])


def test_data_without_one_good_sample_are_refused_before_they_are_loaded(tmp_path):
    members = [member for i in range(600) for member in pair(f"{i:04d}", i)]
    bad = [(name, b"<html>" if name.endswith("png") else text) for name, text in members]
    source = TarSource(write_tar(tmp_path / "a.tar", bad))
    with pytest.raises(ValueError, match=r"of 256 .* image not recognised 256 \(0599"):
        loader(source).check()
    bad[3 * 599] = members[3 * 599]
    loader(TarSource(write_tar(tmp_path / "b.tar", bad))).check()


def test_a_name_that_moves_the_cursor_is_escaped(tmp_path, caplog):
    source = TarSource(
        write_tar(tmp_path / "a.tar", [("\x1b[2Jé.png", b""), ("\x1b[2Jé.txt", b"x")])
    )
    with pytest.raises(ValueError, match="none can"):
        next(loader(source))
    assert "\\x1b[2Jé" in caplog.text and "\x1b" not in caplog.text


def test_a_tar_that_shrinks_during_the_run_stops_it(tmp_path):
    path = write_tar(tmp_path / "a.tar", pairs(COUNT))
    threaded = loader(TarSource(path), num_threads=2)
    os.truncate(path, 512)
    with pytest.raises(ValueError, match="none can: shard changed"):
        take(threaded, 10)
    threaded.close()


def test_a_transform_must_keep_its_shape(source):
    for wrong, got in (((4, 6, 3), "uint8"), ((4, 4, 3), "int64")):
        said = rf"image must always be uint8 \[4, 4, 3\], got {got} {re.escape(str([*wrong]))}"
        with pytest.raises(ValueError, match=said):
            next(loader(source, image_transform=lambda *_: np.zeros(wrong, got)))  # noqa: B023


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"global_batch_size": 10, "process_count": 4}, "by 4 processes, got 10; try 8 or 12"),
        ({"global_batch_size": 2, "process_count": 4}, "by 4 processes, got 2; try 4$"),
        ({"global_batch_size": 0}, "global_batch_size must be at least 1, got 0"),
        ({"process_index": 2, "process_count": 2}, "process_index must be between 0 and 1, got 2"),
        ({"seed": -1}, "seed must be between 0 and 4294967295, got -1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"caption_first_probability": 1.5}, "must be between 0 and 1, got 1.5"),
    ],
)
def test_values_out_of_range_are_refused(source, values, message):
    with pytest.raises(ValueError, match=message):
        loader(source, **values)
