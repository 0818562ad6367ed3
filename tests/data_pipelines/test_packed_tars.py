"""Compressed tars are the data that they hold, unpacked shard by shard in bounded room."""

import bz2
import errno
import gzip
import json
import lzma
import time
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from data_makers import Noisy, pair, pairs, write_tar
from fsspec.implementations.memory import MemoryFileSystem

from data_pipelines.faults import Reject
from data_pipelines.fields import Pictures
from data_pipelines.io import address, blocks, packed, plain, remote, retries
from data_pipelines.io.packed import PackedTar, packed_kind
from data_pipelines.loader import make_loader
from data_pipelines.opening import open_source
from data_pipelines.order import Blocks
from data_pipelines.sources import TarSource, build_indexes
from data_pipelines.sources import tar as tar_module

FIELDS = {"image": Pictures(Noisy(), size=4)}


def by_arrow(kind):
    def packed_bytes(data):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, kind) as out:
            out.write(data)
        return sink.getvalue().to_pybytes()

    return packed_bytes


KINDS = {
    "tar.gz": gzip.compress, "tgz": gzip.compress, "tar.bz2": bz2.compress, "tbz2": bz2.compress,
    "tar.xz": lzma.compress, "txz": lzma.compress, "tar.zst": by_arrow("zstd"),
    "TAR.ZST": by_arrow("zstd"), "tar.lz4": by_arrow("lz4"),
    "two.tar.gz": lambda data: gzip.compress(data[:5000]) + gzip.compress(data[5000:]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    """The folder of what is unpacked."""
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)
    return tmp_path / "cache" / "unpacked"


def written(folder, kind="tar.gz", counts=(7, 5, 9)):
    """Tars, and the same compressed, in folders of their own."""
    plain_ones, small_ones, first = [], [], 0
    for name in ("plain", "small"):
        (folder / name).mkdir()
    for number, count in enumerate(counts):
        members = pairs(first + count)[3 * first :]
        first += count
        plain_ones.append(write_tar(folder / f"plain/{number}.tar", members))
        small_ones.append(folder / f"small/{number}.{kind}")
        small_ones[-1].write_bytes(KINDS[kind](plain_ones[-1].read_bytes()))
    return plain_ones, small_ones


def unpacked(room):
    return [path for path in room.glob("*/*") if not path.name.startswith(".")]


def everything(source):
    return [(source.key(i), source.image(i), source.captions(i)) for i in range(len(source))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_compressed_tar_is_the_data_that_it_holds(tmp_path, room, kind):
    _, small = written(tmp_path, kind)
    here, there = open_source(tmp_path / "plain"), open_source(tmp_path / "small")
    assert there.fingerprint == here.fingerprint and everything(there) == everything(here)
    assert there.file(0) == str(small[0]) and len(unpacked(room)) == 3
    build_indexes(small)
    for path in unpacked(room):
        path.unlink()
    again = open_source(str(tmp_path / "small" / f"*.{kind}"))
    assert not unpacked(room) and again.fingerprint == here.fingerprint
    assert again[8].captions == here[8].captions and len(unpacked(room)) == 1


def loaders(source, *, hosts, batch, blocks):
    how = dict(fields=FIELDS, global_batch_size=batch, seed=3, num_threads=2, blocks=blocks)
    return [
        make_loader(source, process_index=host, process_count=hosts, **how) for host in range(hosts)
    ]


def taken(streams, count):
    """Ids and pictures of so many global batches."""
    found = []
    for _ in range(count):
        parts = [next(stream) for stream in streams]
        for name in ("id", "image", "weight"):
            found.append(np.concatenate([part[name] for part in parts]))
    for stream in streams:
        stream.close()
    return found


@pytest.mark.parametrize("blocks", [None, Blocks(size=7, window=1)])
def test_a_stream_of_them_is_that_of_the_tars_and_goes_on_amid_a_shard(tmp_path, blocks):
    written(tmp_path, "tar.zst")
    here, there = open_source(tmp_path / "plain"), open_source(tmp_path / "small")
    whole = taken(loaders(here, hosts=1, batch=4, blocks=blocks), 12)
    first = loaders(there, hosts=2, batch=4, blocks=blocks)
    got = taken(first, 5)
    state = json.loads(json.dumps(first[0].get_state()))
    rest = loaders(open_source(tmp_path / "small"), hosts=4, batch=4, blocks=blocks)
    for stream in rest:
        stream.set_state(state)
    got += taken(rest, 7)
    for one, other in zip(whole, got, strict=True):
        np.testing.assert_array_equal(one, other)
    loaders(here, hosts=1, batch=4, blocks=blocks)[0].set_state(state)  # they are the same data


def test_room_is_bounded_and_an_order_that_wastes_is_said_once(tmp_path, room, monkeypatch, caplog):
    plain_ones, small = written(tmp_path)
    sizes = [path.stat().st_size for path in plain_ones]
    monkeypatch.setenv("VLP_UNPACKED_GB", str((sizes[0] + sizes[1]) / 1e9))
    here, there = TarSource(plain_ones), TarSource(small)
    monkeypatch.setattr(packed, "_JUDGED_AT", 4)
    monkeypatch.setattr(packed, "_JUDGE", packed._Judge())
    for index in (0, 7, 12, 1, 8, 13) * 3:
        assert there.image(index) == here.image(index)
        assert sum(path.stat().st_size for path in unpacked(room)) <= sum(sizes[:2])
    assert caplog.text.count("are unpacked for") == 1 and "VLP_UNPACKED_GB" in caplog.text


def test_room_that_is_no_number_is_refused_before_anything_is_unpacked(tmp_path, room, monkeypatch):
    _, small = written(tmp_path)
    monkeypatch.setenv("VLP_UNPACKED_GB", "16GB")
    with pytest.raises(ValueError, match="VLP_UNPACKED_GB must be .* such as 16, got '16GB'"):
        TarSource(small)
    assert not unpacked(room)


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
@pytest.mark.parametrize("fault", ["cut", "changed", "appended"])
def test_of_a_damaged_one_what_comes_before_is_used(tmp_path, monkeypatch, caplog, kind, fault):
    monkeypatch.setattr(packed, "_CHUNK", 4096)
    members = [(name, data + np.random.default_rng(n).bytes(20_000)) if name.endswith("png")
               else (name, data) for n, (name, data) in enumerate(pairs(30))]  # fmt: skip
    data = write_tar(tmp_path / "a.tar", members).read_bytes()
    small, path = KINDS[kind](data), tmp_path / f"b.{kind}"
    half = len(small) // 2
    bad = {
        "cut": small[:half],
        "changed": small[:half] + bytes(64) + small[half + 64 :],
        "appended": small + b"no frame of any kind",
    }[fault]
    path.write_bytes(bad)
    other = write_tar(tmp_path / "c.tar", pair("z", 99))
    whole = TarSource(tmp_path / "a.tar")
    source = TarSource([path, other])
    assert source[len(source) - 1].meta == {"seed": 99}
    good = [index for index in range(len(source) - 1) if is_read(source, index)]
    assert good == [*range(len(good))]
    if fault != "changed":  # bytes that change are no more seen than in a tar
        assert all(source.image(index) == whole.image(index) for index in good)
    if fault == "cut" and kind != "tar.bz2":  # whose blocks are larger than this tar
        assert 5 < len(good) < 30 and f"b.{kind} is damaged" in caplog.text


def is_read(source, index):
    try:
        source[index]
    except Reject as fault:
        assert fault.reason == "shard damaged"
        return False
    return True


@pytest.mark.parametrize("byte", [b"\0", b"x"])
def test_a_bomb_takes_no_more_room_than_a_hundred_times_its_size(
    tmp_path, room, byte, caplog, monkeypatch
):
    monkeypatch.setattr(packed, "_LEAST_ROOM", 2**20)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(byte * 40 * 2**20))
    began = time.process_time()
    other = write_tar(tmp_path / "c.tar", pair("z", 99))
    source = TarSource([tmp_path / "a.tar.gz", other])
    assert len(source) == 1 and source[0].meta == {"seed": 99}
    assert time.process_time() - began < 5
    most = 100 * (tmp_path / "a.tar.gz").stat().st_size + 2**20
    assert sum(path.stat().st_size for path in unpacked(room)) <= most
    assert "it becomes 100 times as large" in caplog.text


def test_what_is_not_read_is_no_damage_and_is_tried_again(tmp_path, room, monkeypatch):
    _, small = written(tmp_path)
    build_indexes(small)
    for path in unpacked(room):
        path.unlink()
    source, real = TarSource(small), plain.os.pread

    def away(*_):
        raise OSError(errno.EIO, "Input/output error")

    clock = [0.0]
    monkeypatch.setattr(tar_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(plain.os, "pread", away)
    with pytest.raises(Reject, match="read failed"):
        source.image(0)
    assert not unpacked(room)
    monkeypatch.setattr(plain.os, "pread", real)
    clock[0] += 61
    assert source[0].meta == {"seed": 0}


def test_a_compressed_tar_that_changes_is_another_one(tmp_path):
    _, small = written(tmp_path)
    source = TarSource(small)
    small[1].write_bytes(gzip.compress(write_tar(tmp_path / "x.tar", pairs(2)).read_bytes()))
    with pytest.raises(Reject, match="shard changed"):
        source.image(8)
    assert source[0].meta == {"seed": 0}


def test_threads_unpack_a_tar_once(tmp_path, monkeypatch):
    plain_ones, small = written(tmp_path)
    calls, real = [], PackedTar._write
    monkeypatch.setattr(PackedTar, "_write", lambda *how: calls.append(how) or real(*how))
    source, here = TarSource(small[0]), TarSource(plain_ones[0])
    with ThreadPoolExecutor(8) as threads:
        assert [*threads.map(source.image, [3] * 64)] == [here.image(3)] * 64
    assert len(calls) == 1


def test_those_of_a_store_are_read_there(tmp_path, monkeypatch):
    monkeypatch.setitem(address.SCHEMES, "memory", ("fsspec", ""))
    plain_ones, small = written(tmp_path, "tar.zst")
    for path in small:
        fsspec.filesystem("memory").pipe_file(f"/b/{path.name}", path.read_bytes())
    try:
        for spec in ("memory://b", "memory://b/*.tar.zst", "memory://b/{0..2}.tar.zst"):
            assert everything(open_source(spec)) == everything(TarSource(plain_ones))
    finally:
        MemoryFileSystem.store.clear()


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "tar.zst"])
def test_a_store_that_forbids_amid_a_tar_is_no_damage(tmp_path, room, monkeypatch, kind):
    """As gcsfs says it: by an OSError that has no number."""
    monkeypatch.setitem(address.SCHEMES, "memory", ("fsspec", ""))
    monkeypatch.setattr(remote, "BLOCK_BYTES", 100)
    _, (small,) = written(tmp_path, kind, counts=(9,))
    fsspec.filesystem("memory").pipe_file(f"/b/{small.name}", small.read_bytes())
    real = MemoryFileSystem.cat_file

    def forbidden(self, path, start=None, end=None, **more):
        if start >= 300:
            raise OSError("Forbidden: no access to this bucket")
        return real(self, path, start, end, **more)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, "cat_file", forbidden)
            with pytest.raises(ValueError, match="cannot be read: Forbidden: no access.*try again"):
                TarSource(f"memory://b/{small.name}")
        assert not unpacked(room)
        blocks._after_fork()  # those ahead that failed as well
        assert len(TarSource(f"memory://b/{small.name}")) == 9
    finally:
        MemoryFileSystem.store.clear()


def test_only_names_of_compressed_tars_are_such():
    for name in (
        "a.gz",
        "a.jpg.gz",
        "tar.gz",
        "a.targz",
        "a.tar",
        "a.tgz.tar",
        "gs://b/a.tar?x=.gz",
    ):
        assert packed_kind(name) is None
    assert packed_kind("https://h/a.tar.gz?token=1") == "gzip"
