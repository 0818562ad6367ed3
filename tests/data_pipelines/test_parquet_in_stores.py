"""Parquet files in a store: read by their parts, and told apart from what does not answer."""

import pickle

import fsspec
import pytest
from data_makers import encoded, pixels
from fsspec.implementations.memory import MemoryFileSystem
from test_parquet_source import HF, hf_rows, reason, write

from data_pipelines.io import address, open_file, remote, retries
from data_pipelines.opening import open_source


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An address that is a store in memory, with small blocks."""
    monkeypatch.setitem(address.SCHEMES, "memory", ("fsspec", ""))
    monkeypatch.setattr(remote, "BLOCK_BYTES", 1_000)
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    yield "memory://bucket"
    MemoryFileSystem.store.clear()


def put(place, path):
    fsspec.filesystem("memory").pipe_file(
        f"{place.partition('/')[2]}/{path.name}", path.read_bytes()
    )


def test_files_in_a_store_are_read_by_their_parts(tmp_path, store):
    for shard in range(2):
        rows = list(hf_rows(8))[shard * 4 : shard * 4 + 4]
        put(store, write(tmp_path / f"train-{shard:05d}-of-00002.parquet", rows, HF))
    here = open_source(tmp_path)
    for spec in (f"{store}/train-*.parquet", store):
        source = open_source(spec)
        assert len(source) == len(here) == 8
        for index in (7, 0, 5):
            assert source.image(index) == here.image(index) == encoded(pixels(index))
            assert source.key(index) == here.key(index)
    assert source.file(5) == f"{store}/train-00001-of-00002.parquet"
    assert pickle.loads(pickle.dumps(source)).image(5) == encoded(pixels(5))
    before = source.fingerprint
    put(store, write(tmp_path / "train-00001-of-00002.parquet", hf_rows(4), HF))
    assert open_source(store).fingerprint != before


def test_the_same_bytes_put_up_again_are_the_same_data_and_others_are_not(tmp_path, store):
    path = write(tmp_path / "a.parquet", hf_rows(8), HF)
    put(store, path)
    before, tag = open_source(store).fingerprint, open_file(f"{store}/a.parquet").tag
    put(store, path)
    assert open_file(f"{store}/a.parquet").tag != tag
    assert open_source(store).fingerprint == before
    put(store, write(path, list(hf_rows(9))[1:], HF))
    assert open_source(store).fingerprint != before
    put(store, path.rename(tmp_path / "b.parquet"))
    assert len(open_source(store)) == 16


@pytest.mark.parametrize("error", [ConnectionResetError("away"), OSError("Forbidden: as in gcsfs")])
def test_a_store_that_does_not_answer_is_no_damage(tmp_path, store, monkeypatch, error):
    put(store, write(tmp_path / "a.parquet", hf_rows(40), HF))
    source = open_source(store)

    def away(*_, **__):
        raise error

    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", away)
    assert reason(lambda: source.image(20)) == "read failed"
    put(store, write(tmp_path / "b.parquet", hf_rows(40), HF))
    with pytest.raises(ValueError, match="b.parquet cannot be read: .*; try again"):
        open_source(f"{store}/b.parquet")
