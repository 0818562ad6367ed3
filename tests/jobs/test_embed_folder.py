"""Shards of embeddings: read by numpy and pyarrow, whole or not there, one job a folder."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.vectors.making import DIM, MANIFEST, SAMPLES, columns, files, fill, vectors, written
from vlp.jobs.embed_folder import EmbedFolder
from vlp.vectors.shards import read_rows, read_vectors


def test_numpy_maps_the_vectors_and_parquet_has_them_beside_their_names(tmp_path):
    fill(tmp_path / "e")
    for shard, images in ((0, 9), (1, 9), (2, 3)):
        mapped = np.load(tmp_path / "e" / "images" / f"{shard:05d}.npy", mmap_mode="r")
        np.testing.assert_array_equal(mapped, vectors(shard, images))
        table = pq.read_table(tmp_path / "e" / "images" / f"{shard:05d}.parquet")
        assert table.schema.names == ["id", "key", "file", "caption", "embedding"]
        assert table.schema.field("embedding").type == pa.list_(pa.float32(), DIM)
        assert table["id"].type == pa.int64()
        rows = np.stack(table["embedding"].to_numpy())
        np.testing.assert_array_equal(rows, mapped)
    assert table["id"].to_pylist() == [20, 21, 22]
    assert table["key"].to_pylist() == ["k20", "k21", "k22"]
    assert table["caption"][0].as_py() == "a caption of 20 日本"


def test_half_precision_is_that_of_numpy_in_both_files(tmp_path):
    fill(tmp_path / "e", dtype="float16")
    mapped = np.load(tmp_path / "e" / "images" / "00001.npy", mmap_mode="r")
    np.testing.assert_array_equal(mapped, vectors(1, 9).astype(np.float16))
    table = pq.read_table(tmp_path / "e" / "images" / "00001.parquet")
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), DIM)
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), mapped)


def test_all_that_was_written_is_counted_and_read_back_in_order(tmp_path):
    shards = fill(tmp_path / "e")
    assert len(shards) == 3 and shards.samples(2) == (20, SAMPLES)
    assert shards.counts() == {"images": 21, "captions": 48, "rejected": 3, "left_out": 6}
    ids = np.concatenate([ids for ids, _ in read_vectors(tmp_path / "e", "images")])
    assert ids.tolist() == [i for i in range(SAMPLES) if i % 10 != 3]
    captions = np.concatenate([ids for ids, _ in read_vectors(tmp_path / "e", "captions")])
    assert captions.tolist() == [i for i in range(SAMPLES) for _ in range(2)]


def test_a_shard_may_be_empty(tmp_path):
    shards = EmbedFolder(tmp_path / "e", MANIFEST)
    shards.claim()
    shards.write(0, images=columns([], 0), captions=columns([], 0), rejected=10, left_out=0)
    (found,) = read_vectors(tmp_path / "e", "images")
    assert found[0].shape == (0,) and found[1].shape == (0, DIM)
    table = pq.read_table(tmp_path / "e" / "captions" / "00000.parquet")
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), DIM)


def test_a_key_that_is_not_utf8_is_written_with_marks(tmp_path):
    shards = EmbedFolder(tmp_path / "e", MANIFEST)
    shards.claim()
    images = columns([0], 0) | {"key": ["caf\udce9"]}
    shards.write(0, images=images, captions=columns([], 0), rejected=0, left_out=0)
    assert read_rows(tmp_path / "e", "images", [0])[0].key == "caf\ufffd"


@pytest.mark.parametrize("survived", range(5))
def test_a_job_cut_off_at_any_file_goes_on_and_ends_with_the_same_bytes(
    tmp_path, monkeypatch, survived
):
    fill(tmp_path / "whole")
    folder = tmp_path / "cut"
    cut = EmbedFolder(folder, MANIFEST)
    cut.claim()
    cut.write(0, **written(cut, 0))
    done = {name: (folder / name).stat().st_ino for name in files(folder)}
    renamed = []

    def replace(source, target):
        if len(renamed) == survived:
            raise KeyboardInterrupt
        renamed.append(target)
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        cut.write(1, **written(cut, 1))
    monkeypatch.undo()
    for name in (
        "images/.00001.npy.dead.partial",
        "captions/.00001.parquet.dead.partial",
        "done/.00001.json.dead.partial",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"what a killed process leaves")

    again = EmbedFolder(folder, MANIFEST)
    again.claim()
    assert [again.is_done(shard) for shard in range(3)] == [True, False, False]
    for shard in (1, 2):
        again.write(shard, **written(again, shard))
    assert files(folder) == files(tmp_path / "whole")
    assert done == {name: (folder / name).stat().st_ino for name in done}


def test_a_manifest_cut_off_does_no_harm(tmp_path):
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / ".manifest.json.0123.partial").write_text('{"form')
    fill(tmp_path / "e")
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == [
        "captions",
        "done",
        "images",
        "manifest.json",
    ]


def test_nothing_is_written_before_the_folder_is_claimed(tmp_path):
    EmbedFolder(tmp_path / "e", MANIFEST)
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "another"),
        ("preprocess", {"size": 3}),
        ("tokenizer", {"sha256": "0"}),
        ("data", "another"),
        ("samples", 25),
        ("shard_size", 11),
        ("captions", "first"),
        ("dtype", "float16"),
        ("dim", 9),
    ],
)
def test_another_job_in_the_folder_is_refused_with_the_difference(tmp_path, key, value):
    fill(tmp_path / "e")
    before = files(tmp_path / "e")
    with pytest.raises(ValueError, match=f"holds embeddings of another {key}, .* --out"):
        EmbedFolder(tmp_path / "e", MANIFEST | {key: value})
    assert files(tmp_path / "e") == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(ValueError, match="holds other files, such as thesis.tex"):
        EmbedFolder(tmp_path, MANIFEST)
    with pytest.raises(ValueError, match="thesis.tex is a file"):
        EmbedFolder(tmp_path / "thesis.tex", MANIFEST)


@pytest.mark.parametrize("file", ["images/00001.npy", "captions/00001.parquet", "done/00001.json"])
@pytest.mark.parametrize("harm", ["gone", "cut", "of another shard"])
def test_a_shard_whose_files_are_not_all_there_is_not_done_and_that_is_said(
    tmp_path, caplog, file, harm
):
    fill(tmp_path / "e")
    whole = files(tmp_path / "e")
    path = tmp_path / "e" / file
    if harm == "gone":
        path.unlink()
    else:
        other = path.with_stem("00002").read_bytes()
        path.write_bytes(other if harm != "cut" else path.read_bytes()[:-20])
    shards = EmbedFolder(tmp_path / "e", MANIFEST)
    shards.claim()
    assert [shards.is_done(shard) for shard in range(3)] == [True, False, True]
    said = "00001.json: files of this shard are gone or cut" in caplog.text
    assert said or (file, harm) == ("done/00001.json", "gone")  # which was never done
    shards.write(1, **written(shards, 1))
    assert files(tmp_path / "e").keys() == whole.keys()
    assert all(shards.is_done(shard) for shard in range(3))
