"""Files by address: stretches are what was written; blocks come once, ahead, again on faults."""

import errno
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import fsspec
import numpy as np
import pytest
from data_makers import pair, pairs, write_tar
from fsspec.implementations.memory import MemoryFileSystem

from data_pipelines.faults import Reject
from data_pipelines.io import (
    FileChanged,
    OpenFiles,
    address,
    blocks,
    disk_cache,
    exists,
    listing,
    open_file,
    remote,
    retries,
)
from data_pipelines.opening import open_source
from data_pipelines.sources import TarSource, build_indexes, tar_indexes
from data_pipelines.sources import tar as tar_module

BLOCK = 1000


@pytest.fixture
def store(monkeypatch, tmp_path):
    """A store in memory, small blocks, no waits; the blocks that were fetched."""
    monkeypatch.setitem(address.SCHEMES, "memory", ("fsspec", ""))
    monkeypatch.setattr(remote, "BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    blocks._after_fork()
    fetched = []
    real = MemoryFileSystem.cat_file

    def noted(self, path, start=None, end=None, **more):
        fetched.append(start // BLOCK)
        return real(self, path, start, end, **more)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", noted)
    yield fetched
    MemoryFileSystem.store.clear()


def put(name, data):
    fsspec.filesystem("memory").pipe_file(f"/b/{name}", data)
    return f"memory://b/{name}"


def some(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8).tobytes()


def failing(monkeypatch, errors):
    """The next answers of the store are these errors."""
    real, waiting = MemoryFileSystem.cat_file, iter(errors)

    def flaky(self, *how, **more):
        error = next(waiting, None)
        if isinstance(error, Exception):
            raise error
        return real(self, *how, **more) if error is None else error

    monkeypatch.setattr(MemoryFileSystem, "cat_file", flaky)


def test_any_stretch_is_what_was_written(store, tmp_path):
    data = some(7 * BLOCK + 123)
    (tmp_path / "x").write_bytes(data)
    rng = np.random.default_rng(1)
    for file in (open_file(put("x", data)), open_file(tmp_path / "x")):
        assert file.size == len(data)
        for _ in range(200):
            start, length = rng.integers(0, len(data) + 50), rng.integers(0, 3 * BLOCK)
            assert file.read(int(start), int(length)) == data[start : start + length]
        file.close()


def test_who_reads_on_finds_the_next_blocks_under_way_and_none_is_fetched_twice(store):
    file = open_file(put("x", some(20 * BLOCK)))
    file.read(5 * BLOCK, 10)
    assert store == [5]
    for place in range(6 * BLOCK, 20 * BLOCK, 100):
        file.read(place, 100)
    assert sorted(store) == [*range(5, 20)]
    # The sixth block was asked for, and with it the four behind it.
    assert store.index(10) < 7


def test_threads_that_want_a_block_share_one_answer(store):
    file = open_file(put("x", some(4 * BLOCK)))
    with ThreadPoolExecutor(8) as threads:
        found = {*threads.map(lambda _: file.read(2 * BLOCK, 10), range(64))}
    assert store == [2] and len(found) == 1


def test_memory_is_bounded(store, monkeypatch):
    monkeypatch.setattr(blocks, "KEPT", 3)
    data = some(12 * BLOCK)
    file = open_file(put("x", data))
    for number in (0, 6, 2, 9, 0, 4):
        assert file.read(number * BLOCK, BLOCK) == data[number * BLOCK :][:BLOCK]
        assert len(blocks.blocks()._found) <= 3
    assert store.count(0) == 2


def test_faults_that_pass_are_not_seen_and_others_are_raised_as_they_are(store, monkeypatch):
    data = some(BLOCK)
    file = open_file(put("x", data))
    failing(monkeypatch, [OSError("reset"), TimeoutError("late"), b"cut", ConnectionError("gone")])
    assert file.read(0, BLOCK) == data
    failing(monkeypatch, [OSError("down")] * 5)
    other = open_file(put("y", data))
    with pytest.raises(OSError, match="down"):
        other.read(0, BLOCK)
    assert other.read(0, BLOCK) == data  # the store is up again
    failing(monkeypatch, [PermissionError("no"), *[AssertionError("a second try")] * 5])
    with pytest.raises(PermissionError):
        open_file(put("z", data)).read(0, BLOCK)


def test_what_failed_ahead_is_fetched_again_once_it_is_wanted(store, monkeypatch):
    file = open_file(put("x", some(4 * BLOCK)))
    file.read(0, 10)
    failing(monkeypatch, [OSError("down")] * 3 * retries.TRIES)
    assert str(failure(file.read, BLOCK, 10)) == "[Errno 5] down"
    wait(blocks.blocks()._found.values())
    assert file.read(2 * BLOCK, 10) == some(4 * BLOCK)[2 * BLOCK :][:10]


class RefreshError(Exception):
    """As google.auth raises it, which gcsfs lets through."""

    __module__ = "google.auth.exceptions"


def test_credentials_that_are_not_renewed_at_once_are_asked_for_again(store, monkeypatch):
    data = some(BLOCK)
    failing(monkeypatch, [RefreshError("metadata server")] * 4)
    assert open_file(put("x", data)).read(0, BLOCK) == data
    failing(monkeypatch, [RefreshError("metadata server")] * 5)
    with pytest.raises(OSError, match="RefreshError: metadata server"):
        open_file(put("y", data)).read(0, BLOCK)


def test_a_store_that_hangs_is_an_error(store, monkeypatch):
    monkeypatch.setattr(blocks, "PATIENCE_S", 0.01)
    hangs, data = threading.Event(), some(BLOCK)
    file = open_file(put("x", data))
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "cat_file", lambda *_, **__: hangs.wait() and data)
        with pytest.raises(TimeoutError):
            file.read(0, 10)
    monkeypatch.setattr(blocks, "PATIENCE_S", 60.0)
    assert file.read(0, 10) == data[:10]  # by another thread
    hangs.set()


@pytest.fixture
def hanging(store, monkeypatch):
    """Files of which eight hang, as many as there are threads; what lets them go; what is begun."""
    monkeypatch.setattr(blocks, "PATIENCE_S", 0.05)
    files = [open_file(put(f"{number}", some(BLOCK, number))) for number in range(10)]
    goes, begun, real = threading.Event(), [], MemoryFileSystem.cat_file

    def hangs(self, path, *how, **more):
        begun.append(path[-1])
        if path[-1] < "8":
            goes.wait()
        return real(self, path, *how, **more)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", hangs)
    try:
        for number in range(8):
            while f"{number}" not in begun:  # on a busy machine it may not begin in time
                assert isinstance(failure(files[number].read, 0, 10), TimeoutError)
        yield files, goes, begun
    finally:
        goes.set()  # else the process would never end


def failure(function, *given):
    try:
        function(*given)
    except OSError as error:
        return error


def test_reads_that_hang_keep_no_others_waiting(hanging, monkeypatch, caplog):
    files, _, begun = hanging
    monkeypatch.setattr(blocks, "PATIENCE_S", 60.0)
    now = time.monotonic()
    monkeypatch.setattr(blocks.time, "monotonic", lambda: now + 61)
    for number in (8, 9):
        assert files[number].read(0, 10) == some(BLOCK, number)[:10]
    assert len(begun) == 10 and caplog.text.count("8 reads of stores have hung") == 1


def test_what_nobody_waits_for_any_more_is_not_begun(hanging, monkeypatch):
    files, goes, begun = hanging
    monkeypatch.setattr(blocks._Threads, "all_hang", lambda _: False)
    with ThreadPoolExecutor(2) as threads:  # one of the two finds what it waits for cancelled
        errors = [*threads.map(lambda _: failure(files[8].read, 0, 10), range(2))]
    assert {type(error) for error in errors} == {TimeoutError}
    goes.set()
    monkeypatch.setattr(blocks, "PATIENCE_S", 60.0)
    assert files[9].read(0, 10) == some(BLOCK, 9)[:10]
    assert sorted(begun) == [*"012345679"]


def test_a_file_that_changes_is_seen(store, monkeypatch):
    file = open_file(put("x", some(3 * BLOCK)))
    file.read(0, 10)
    put("x", some(2 * BLOCK + 5))
    with pytest.raises(FileChanged):  # fewer bytes come than asked for
        file.read(2 * BLOCK, 10)
    file = open_file(put("y", some(2 * BLOCK)))
    file.read(0, 10)
    put("y", some(2 * BLOCK, seed=1))
    assert file.read(1, 10)
    monkeypatch.setattr(remote, "CHECKED_EVERY_S", -1.0)
    with pytest.raises(FileChanged):
        file.read(1, 10)


def test_a_folder_on_a_disk_keeps_blocks_between_processes_within_its_bound(
    store, monkeypatch, tmp_path
):
    monkeypatch.setenv("VLP_BLOCK_CACHE", str(tmp_path / "blocks"))
    data = some(10 * BLOCK)
    name = put("x", data)
    assert open_file(name).read(0, len(data)) == data and len(store) == 10
    blocks._after_fork()  # as another process begins
    assert open_file(name).read(0, len(data)) == data and len(store) == 10
    kept = sorted((tmp_path / "blocks").glob("*/*"))
    kept[0].write_bytes(b"damaged")
    blocks._after_fork()
    assert open_file(name).read(0, len(data)) == data and len(store) == 11
    put("x", data := some(10 * BLOCK, seed=1))
    blocks._after_fork()
    assert open_file(name).read(0, len(data)) == data and len(store) == 21
    monkeypatch.setenv("VLP_BLOCK_CACHE_GB", "0.000005")
    monkeypatch.setattr(disk_cache, "_SWEPT_EVERY", 1)
    monkeypatch.setattr(disk_cache, "_written", 0)
    open_file(put("z", data)).read(0, BLOCK)
    assert sum(path.stat().st_size for path in (tmp_path / "blocks").glob("*/*")) <= 5000


@pytest.mark.parametrize("said", ["16GB", "-1", "nan"])
def test_a_bound_that_is_no_number_is_refused_when_a_file_is_opened(
    store, monkeypatch, tmp_path, said
):
    monkeypatch.setenv("VLP_BLOCK_CACHE", str(tmp_path / "blocks"))
    monkeypatch.setenv("VLP_BLOCK_CACHE_GB", said)
    name = put("x", some(BLOCK))
    with pytest.raises(ValueError, match=f"VLP_BLOCK_CACHE_GB must be .* such as 16, got '{said}'"):
        open_file(name)
    monkeypatch.setenv("VLP_BLOCK_CACHE_GB", "")
    assert open_file(name).read(0, BLOCK) == some(BLOCK)


def test_a_folder_in_which_no_block_can_be_kept_is_said_once(store, monkeypatch, tmp_path, caplog):
    (tmp_path / "blocks").write_bytes(b"a file")
    monkeypatch.setenv("VLP_BLOCK_CACHE", str(tmp_path / "blocks"))
    data = some(5 * BLOCK)
    assert open_file(put("x", data)).read(0, len(data)) == data
    (said,) = caplog.messages
    assert f"cannot be kept in {tmp_path / 'blocks'}" in said and "VLP_BLOCK_CACHE name" in said


def test_names_are_listed_and_known(store):
    for name in ("d/b.tar", "d/a.tar", "d/e/c.tar", "d/t.txt"):
        put(name, b"x")
    assert [name.rpartition("/")[2] for name in listing("memory://b/d/*.tar")] == ["a.tar", "b.tar"]
    assert len(listing("memory://b/d")) == 3 and len(listing("memory://b/**/*.tar")) == 3
    assert exists("memory://b/d/a.tar") and not exists("memory://b/d/z.tar")
    with pytest.raises(FileNotFoundError):
        open_file("memory://b/d/z.tar")


def test_open_files_are_counted_and_closed_once_nobody_reads_them(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    files = OpenFiles()
    with files.reading(str(tmp_path / "x")) as file:
        files.forget(str(tmp_path / "x"))
        assert file.read(0, 3) == b"abc"
        with files.reading(str(tmp_path / "x")) as again:
            assert again is not file
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.read(0, 3)
    assert again.read(0, 3) == b"abc"


@pytest.fixture
def tars(tmp_path):
    (tmp_path / "local").mkdir()
    return [write_tar(tmp_path / "local" / f"{n}.tar", pairs(40 + n)) for n in range(3)]


def everything(source):
    return [(source.key(i), source.image(i), source.captions(i)) for i in range(len(source))]


def test_tars_of_a_store_are_the_same_data(store, tars):
    here = TarSource(tars)
    for path in tars:
        put(f"d/{path.name}", path.read_bytes())
    for spec in ("memory://b/d", "memory://b/d/*.tar", "memory://b/d/{0..2}.tar"):
        there = open_source(spec)
        assert there.fingerprint == here.fingerprint
        assert everything(there) == everything(here)


@pytest.mark.parametrize("beside", [False, True])
def test_an_index_spares_a_store_all_reading_at_opening(store, tars, beside):
    for path in tars:
        put(f"d/{path.name}", path.read_bytes())
    if beside:  # made here, and put beside the tars: its times are not the store's
        (built,) = build_indexes(tars)
        put("d/tars.index", built.path.read_bytes())
        assert open_source("memory://b/d").fingerprint  # copies the index
    else:
        build_indexes(["memory://b/d/" + path.name for path in tars])
    blocks._after_fork()
    store.clear()
    source = open_source("memory://b/d")
    assert store == [] and len(source) == 123
    assert source[0].captions == TarSource(tars)[0].captions and store
    fsspec.filesystem("memory").rm_file("/b/d/1.tar")
    source = open_source("memory://b/d")
    assert len(source) == 123 and [name[-5:] for name in source.survey()[0].gone] == ["1.tar"]
    with pytest.raises(Reject, match="shard gone"):
        source[45]


def test_an_index_that_a_store_does_not_give_is_not_taken_for_none(
    store, tars, monkeypatch, caplog
):
    (built,) = build_indexes(tars)
    put("d/tars.index", built.path.read_bytes())
    for path in tars[:2]:  # the third is gone
        put(f"d/{path.name}", path.read_bytes())

    def opened(owner, name, error):
        def fails(*_, **__):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fails)
            return open_source("memory://b/d")

    with pytest.raises(
        ValueError, match="d/tars.index must be read where it is there, but: .*down"
    ):
        opened(MemoryFileSystem, "exists", OSError("down"))
    with pytest.raises(ValueError, match="tars.index cannot be copied: .*No space.*; .*make room"):
        opened(tar_indexes, "_copy", OSError(errno.ENOSPC, "No space left on device"))
    assert not caplog.text
    refused = opened(MemoryFileSystem, "exists", PermissionError("no listing"))
    assert len(refused) == 81 and "d/tars.index is not used: no listing" in caplog.text
    source = open_source("memory://b/d")
    assert len(source) == 123 and source.survey()[0].gone == ("memory://b/d/2.tar",)


def test_a_store_that_fails_costs_its_samples_for_a_while(store, tars, monkeypatch):
    places = [put(f"d/{n}.tar", tars[n].read_bytes()) for n in range(2)]
    build_indexes(places)
    blocks._after_fork()
    clock = [0.0]
    monkeypatch.setattr(tar_module.time, "monotonic", lambda: clock[0])
    source = TarSource(places)
    failing(monkeypatch, [OSError("down")] * 5)
    for index in (0, 1, 2):
        with pytest.raises(Reject, match="read failed.*down"):
            source[index]
    assert source[40].key == "0000"
    clock[0] += 61
    assert source[0].meta == {"seed": 0}


def test_a_tar_of_a_store_that_changes_is_rejected_from_there_on(store, monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "CHECKED_EVERY_S", -1.0)
    first, second, third = (
        write_tar(tmp_path / f"{n}.tar", pair("a", n)).read_bytes() for n in range(3)
    )
    source = TarSource([put("a.tar", first), put("b.tar", second)])
    assert source[0].meta == {"seed": 0}
    put("a.tar", third)
    with pytest.raises(Reject, match="shard changed"):
        source.image(0)
    assert source[1].meta == {"seed": 1}
