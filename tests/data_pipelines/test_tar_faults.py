"""What is wrong with a tar costs its own samples: the others, and their order, stay as they are."""

import errno
import os
import tarfile

import pytest
from data_makers import encoded, pair, pairs, pixels, write_tar

from data_pipelines.faults import Reject
from data_pipelines.io import plain, retries
from data_pipelines.sources import TarSource, build_indexes, scan
from data_pipelines.sources import tar as tar_module
from data_pipelines.sources.join import JoinedSource

PNG = encoded(pixels(0))


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)


def seeds(source):
    """What each sample's JSON says, or why it is rejected."""
    found = []
    for index in range(len(source)):
        try:
            found.append(source[index].meta["seed"])
        except Reject as fault:
            found.append(fault.reason)
    return found


@pytest.mark.parametrize("second", ["a.png", "a.jpg"])
def test_two_images_for_one_key_cost_that_sample(tmp_path, second):
    odd = [("a.png", PNG), (second, PNG), ("a.txt", b"x")]
    source = TarSource(write_tar(tmp_path / "a.tar", pair("0", 0) + odd + pair("z", 1)))
    assert seeds(source) == [0, "member twice", 1] and source.key(1) == "a"
    (stray,) = source.survey()[0].strays
    assert (stray.count, stray.example) == (1, second) and "remove one" in stray.reason


@pytest.mark.parametrize("cut", [1 / 1000, 0.4, 0.77])
def test_of_a_tar_that_is_cut_the_whole_samples_before_are_used(tmp_path, caplog, cut):
    path = write_tar(tmp_path / "a.tar", pairs(20))
    end = 20 * 3 * 1024  # a header and one block for each member
    size = int(end * cut)
    path.write_bytes(path.read_bytes()[:size])
    before = max(0, -(-size // 3072) - 1)
    other = write_tar(tmp_path / "b.tar", pair("z", 99))
    found = seeds(TarSource([path, other]))
    assert found == [*range(before), *["shard damaged"] * (len(found) - before - 1), 99]
    assert f"is cut at byte {size}" in caplog.text
    assert f"{before} samples that come before" in caplog.text
    (stray,) = TarSource([path, other]).survey()[0].strays
    assert "whose rest is left out" in stray.reason and stray.example == "a.tar: a.tar"


def test_every_cut_before_the_end_marker_is_noticed(tmp_path):
    path = write_tar(tmp_path / "a.tar", pairs(2))
    whole = path.read_bytes()
    members = 2 * 3 * 1024
    for size in range(0, members + 1, 256):
        path.write_bytes(whole[:size])
        found = scan(path)
        seen = -(-(size // 1024) // 3)  # samples of which a member is whole
        assert "is cut" in found.damage and found.usable == max(0, seen - 1)
    path.write_bytes(whole[: members + 512])
    assert scan(path).damage == "" and len(scan(path)) == scan(path).usable == 2


def test_joined_tars_are_read_to_the_first_end_and_said(tmp_path, caplog):
    path = write_tar(tmp_path / "a.tar", pairs(2))
    path.write_bytes(path.read_bytes() * 2)
    assert seeds(TarSource(path)) == [0, 1]
    assert "data after its end marker" in caplog.text and "joined with `cat`" in caplog.text


def huge_header():
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**20
    return info.tobuf(tarfile.USTAR_FORMAT) + bytes(2**20)


def sparse_member():
    info = tarfile.TarInfo("x.png")
    info.type = tarfile.GNUTYPE_SPARSE
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (huge_header, "extended header of 1048576 bytes at byte .*, where 65536 are the most"),
        (sparse_member, "sparse or unknown"),
        (lambda: os.urandom(512), "no valid header at byte 6144"),
    ],
)
def test_what_cannot_be_walked_ends_the_tar_and_costs_the_sample_before(tmp_path, odd, said):
    path = write_tar(tmp_path / "a.tar", pairs(2))
    path.write_bytes(path.read_bytes()[: 2 * 3 * 1024] + odd() + bytes(1024))
    assert seeds(TarSource(path)) == [0, "shard damaged"]
    path.write_bytes(odd() + bytes(1024))
    with pytest.raises(ValueError, match=said.replace("6144", "0")):
        TarSource(path)


def test_a_tar_without_a_usable_sample_is_empty_among_others_and_refused_alone(tmp_path, caplog):
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"<html>" * 200)
    empty = write_tar(tmp_path / "empty.tar", [("a.npy", b"")])
    missing = tmp_path / "missing.tar"
    good = write_tar(tmp_path / "good.tar", pairs(2))
    assert seeds(TarSource([bad, empty, missing, good])) == [0, 1]
    assert "so are 1 other tars" in caplog.text
    for alone, said in ((bad, "not a tar"), (empty, "at least one sample"), (missing, "No such")):
        with pytest.raises(ValueError, match=said):
            TarSource(alone)


def test_a_tar_that_is_gone_keeps_its_places(tmp_path, caplog):
    paths = [write_tar(tmp_path / f"{n}.tar", pair(f"k{n}", n)) for n in range(3)]
    build_indexes(paths)
    whole = TarSource(paths)
    paths[1].unlink()
    source = TarSource(paths)
    assert seeds(source) == [0, "shard gone", 2]
    assert source.fingerprint == whole.fingerprint and source.key(1) == "1.tar#0"
    assert source.survey()[0].gone == (str(paths[1]),) and whole.survey()[0].gone == ()
    assert "1 tars that were indexed are gone" in caplog.text


def test_a_tar_that_changes_while_it_is_read_is_rejected_from_there_on(tmp_path, caplog):
    path = write_tar(tmp_path / "a.tar", pairs(4))
    other = write_tar(tmp_path / "b.tar", pair("z", 9))
    source = TarSource([path, other])
    assert source[0].meta == {"seed": 0}
    os.truncate(path, 4096)
    assert seeds(source) == ["shard changed"] * 4 + [9]
    assert caplog.text.count("changed while it was read") == 1


def test_errors_that_pass_are_read_again_and_others_counted(tmp_path, monkeypatch):
    source = TarSource([write_tar(tmp_path / f"{n}.tar", pair(f"k{n}", n)) for n in range(2)])
    real, failing = os.pread, iter([True] * 3)

    def flaky(*how):
        if next(failing, False):
            raise OSError(errno.EIO, "Input/output error")
        return real(*how)

    monkeypatch.setattr(plain.os, "pread", flaky)
    assert seeds(source) == [0, 1]
    failing = iter([True] * 5)
    clock = [1000.0]
    monkeypatch.setattr(tar_module.time, "monotonic", lambda: clock[0])
    assert seeds(source) == ["read failed", 1]  # and is left alone for a while
    assert seeds(source) == ["read failed", 1]
    clock[0] += 61
    assert seeds(source) == [0, 1]


def test_a_file_that_cannot_be_read_is_no_end_of_the_run(tmp_path, monkeypatch):
    paths = [write_tar(tmp_path / f"{n}.tar", pair(f"k{n}", n)) for n in range(2)]
    build_indexes(paths)
    source, real = TarSource(paths), os.open

    def closed(path, *how, **more):
        if path == str(paths[0]):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *how, **more)

    monkeypatch.setattr(plain.os, "open", closed)
    assert seeds(source) == ["read failed", 1]


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_a_tar_that_cannot_be_read_now_is_not_taken_for_an_empty_one(tmp_path, monkeypatch, code):
    paths = [write_tar(tmp_path / f"{n}.tar", pair(f"k{n}", n)) for n in range(3)]
    whole, real = TarSource(paths), os.open

    def away(path, *how, **more):
        if path == str(paths[1]):
            raise OSError(code, "away")
        return real(path, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(plain.os, "open", away)
        for opened in (TarSource, build_indexes):
            with pytest.raises(ValueError, match="1.tar cannot be read: away; try again"):
                opened(paths)
    assert not (tmp_path / "tars.index").exists()
    build_indexes(paths)
    source = TarSource(paths)
    assert seeds(source) == [0, 1, 2] and source.fingerprint == whole.fingerprint


def test_tars_that_go_are_said_once_a_reason(tmp_path, caplog):
    paths = [write_tar(tmp_path / f"{n}.tar", pair(f"k{n}", n)) for n in range(4)]
    source = TarSource(paths)
    for path in paths[:2]:
        path.unlink()
    os.truncate(paths[2], 1024)
    assert seeds(source) == ["shard gone", "shard gone", "shard changed", 3]
    assert [said.partition(":")[0] for said in caplog.messages] == ["shard gone", "shard changed"]


def test_data_of_which_files_are_gone_are_not_joined_by_key(tmp_path):
    paths = [write_tar(tmp_path / f"{n}.tar", pair(f"k{n}", n)) for n in range(3)]
    build_indexes(paths)
    other = TarSource(paths[0])
    paths[1].unlink()
    with pytest.raises(ValueError, match="need the keys of all their files, and .*1.tar is gone"):
        JoinedSource(TarSource(paths[1:]), other)
