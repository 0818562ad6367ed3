"""Tars: what is a sample, and what is refused at opening."""

import io
import json
import os
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from data_makers import encoded, pair, pairs, pixels, write_tar

from data_pipelines.faults import Reject
from data_pipelines.io import opened, plain
from data_pipelines.sources import TarSource, build_indexes

PNG = encoded(pixels(0))


def test_samples_are_what_was_written_in_the_order_of_their_keys(tmp_path):
    source = TarSource(write_tar(tmp_path / "a.tar", pairs(5)))
    assert len(source) == 5
    sample = source[3]
    assert sample.key == source.key(3) == "0003"
    assert sample.image == source.image(3) == encoded(pixels(3))
    assert sample.captions == (b"caption 3", b"other words 3", b"third line 3")
    assert sample.captions == source.captions(3)
    assert sample.meta == {"seed": 3}


def test_several_tars_are_counted_through(tmp_path):
    first = write_tar(tmp_path / "a.tar", pairs(3))
    second = write_tar(tmp_path / "b.tar", pair("x", 7) + pair("y", 8))
    source = TarSource([first, second])
    assert [source.key(i) for i in range(len(source))] == ["0000", "0001", "0002", "x", "y"]
    with pytest.raises(IndexError, match=r"in \[0, 5\), got 5"):
        source[5]


def test_many_tars_are_read_without_keeping_them_all_open(tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "MOST", 2)
    tars = [write_tar(tmp_path / f"{i}.tar", pair(f"k{i}", i)) for i in range(5)]
    source = TarSource(tars)
    before = len(os.listdir("/proc/self/fd"))
    for order in (range(5), (0, 1, 1, 0, 4, 2)):
        assert [source[i].meta["seed"] for i in order] == [*order]
        assert len(os.listdir("/proc/self/fd")) == before + 2


def test_threads_read_the_same_whatever_is_open(tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "MOST", 1)
    source = TarSource([write_tar(tmp_path / f"{i}.tar", pair(f"k{i}", i)) for i in range(6)])
    places = np.random.default_rng(0).integers(0, 6, 400).tolist()
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda i: (source.key(i), source.captions(i)[0]), places)
    assert [*found] == [(f"k{i}", f"caption {i}".encode()) for i in places]


def test_a_pickled_source_reads_the_same(tmp_path):
    source = TarSource(write_tar(tmp_path / "a.tar", pairs(3)))
    source[0]  # a file is open now, which does not pickle
    assert pickle.loads(pickle.dumps(source))[2] == source[2]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_format_and_long_and_foreign_names(tmp_path, format):
    folder = "very-long-folder-name/" * (4 if format == tarfile.USTAR_FORMAT else 12)
    keys = ["plain", "./dotted", f"{folder}deep.er/name", "größe"]
    members = [(f"{key}.{end}", PNG) for key in keys for end in ("png", "txt")]
    path = write_tar(tmp_path / "a.tar", members, format=format)
    build_indexes([path])
    source = TarSource(path)
    assert [source.key(i) for i in range(4)] == [key.removeprefix("./") for key in keys]
    assert all(source[i].image == PNG for i in range(4))


def test_keys_end_at_the_first_dot_of_the_base_name(tmp_path):
    members = [
        ("a.b/0001.PNG", PNG),
        ("a.b/0001.txt", b"one"),
        ("a.b/0001.seg.png", b"another role"),
        ("a.b/noextension", b""),
        ("a.b/._0001.png", b"resource fork"),
        ("a.b/0001.pkl", b"never opened"),
    ]
    source = TarSource(write_tar(tmp_path / "a.tar", members))
    assert (len(source), source.key(0), source[0].image) == (1, "a.b/0001", PNG)
    (found,) = source.survey()
    assert sorted((stray.count, stray.reason[:12]) for stray in found.strays) == [
        (1, ".pkl is not "), (1, "hidden file"), (1, "no dots in K"), (1, "no extension"),
    ]  # fmt: skip


def test_members_of_a_sample_may_lie_apart(tmp_path):
    members = [("a.png", PNG), ("b.png", PNG), ("b.txt", b"bee"), ("a.txt", b"ay")]
    source = TarSource(write_tar(tmp_path / "a.tar", members))
    assert [source[i].captions for i in (0, 1)] == [(b"ay",), (b"bee",)]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("a.txt", b"words")], "image missing"),
        ([("a.png", PNG)], "caption missing"),
        ([("a.png", PNG), ("a.txt", b" \n\n ")], "caption empty"),
        ([("a.png", PNG), ("a.txt", b"x" * 50_000_000)], "caption too long"),
    ],
)
def test_an_incomplete_sample_is_counted_and_rejected_with_its_reason(tmp_path, members, reason):
    source = TarSource(write_tar(tmp_path / "a.tar", pair("0", 0) + members + pair("z", 1)))
    assert len(source) == 3
    with pytest.raises(Reject) as caught:
        source[1]
    assert caught.value.reason == reason
    assert (source[0].meta, source[2].meta) == ({"seed": 0}, {"seed": 1})


def test_a_caption_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    members = [("a.png", PNG), ("a.txt", b"x" * 50_000_000)]
    source = TarSource(write_tar(tmp_path / "a.tar", members))
    read = []
    real = plain.LocalFile.read
    monkeypatch.setattr(plain.LocalFile, "read", lambda *how: read.append(how[2]) or real(*how))
    with pytest.raises(Reject, match="caption too long: 50000000 > 65536 bytes"):
        source.captions(0)
    assert read and max(read) <= 4096


def test_what_lies_beside_the_headers_is_read_with_them(tmp_path, monkeypatch):
    members = [("a.png", PNG + b"x" * 20_000), ("a.json", b"{}"), ("a.txt", b"caption")]
    source = TarSource(write_tar(tmp_path / "a.tar", [*members, *pair("b", 1)]))
    source.key(1)  # which looks once at the whole tar
    read, real = [], plain.LocalFile.read
    monkeypatch.setattr(plain.LocalFile, "read", lambda *how: read.append(how[2]) or real(*how))
    assert (source.captions(0), source.meta(0)) == ((b"caption",), {})
    assert len(read) == 2 and sum(read) < 20_000, "of the picture nothing but its first page"
    assert source.image(0) == members[0][1] and len(read) == 3


def test_who_asks_for_pictures_reads_a_sample_at_once_unless_it_is_large(tmp_path, monkeypatch):
    members = [(f"{key}.png", PNG + b"x" * 20_000) for key in "abcd"]
    members[3] = ("d.png", PNG + b"x" * 300_000)
    members += [(f"{key}.txt", key.encode()) for key in "abcd"]
    source = TarSource(write_tar(tmp_path / "a.tar", sorted(members)))
    source.key(3)  # which looks once at the whole tar
    read, real, counts = [], plain.LocalFile.read, []
    monkeypatch.setattr(plain.LocalFile, "read", lambda *how: read.append(how[2]) or real(*how))
    for index, (key, picture) in enumerate(sorted(members)[::2]):
        assert source.captions(index) == (key[0].encode(),)
        assert source.image(index) == picture
        counts.append(len(read))
        read.clear()
    assert counts == [3, 1, 1, 3]
    for index in (0, 1):
        source.captions(index)
    assert sum(read[1:]) < 20_000, "who asks for captions alone reads no picture"


def test_links_devices_and_outward_paths_are_never_followed(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG)
    path = tmp_path / "a.tar"
    outward = [("../up.png", PNG), ("/abs.png", PNG), ("/abs.txt", b"")]
    with tarfile.open(path, "w") as tar:
        for name, data in pair("good", 1) + outward:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"kind{kind.decode()}.png")
            info.type, info.linkname = kind, str(secret)
            tar.addfile(info)
    source = TarSource(path)
    assert ([source.key(0)], len(source)) == (["good"], 1)
    counts = {stray.reason.split()[0]: stray.count for stray in source.survey()[0].strays}
    assert counts == {"a": 4, "its": 3}  # links and devices, and names that lead out
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "secret.png"]


@pytest.mark.parametrize(("mode", "kind"), [("w:gz", "gzip"), ("w:bz2", "bzip2"), ("w:xz", "xz")])
def test_compressed_tars_of_another_name_are_refused_with_the_remedy(tmp_path, mode, kind):
    with tarfile.open(tmp_path / "a.tar", mode) as tar:
        tar.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    with pytest.raises(ValueError, match=f"is {kind}, unlike .*; unpack it, or"):
        TarSource(tmp_path / "a.tar")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("b.png"), io.BytesIO())
    (beside,) = TarSource([tmp_path / "a.tar", tmp_path / "b.tar"]).survey()
    assert beside.samples == 1 and "rest is left out" in beside.strays[0].reason


@pytest.mark.parametrize("content", [b"<html>" * 200, b"\0" * 4096, os.urandom(1024)])
def test_what_is_no_tar_is_refused(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ValueError, match="not a tar|at least one sample"):
        TarSource(tmp_path / "a.tar")


def test_the_fingerprint_follows_the_content_and_not_the_times(tmp_path):
    def fingerprint(members, mtime=0):
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(data), mtime
                tar.addfile(info, io.BytesIO(data))
        return TarSource(path).fingerprint

    same_length = [("0000.png", encoded(pixels(0))), ("0000.txt", b"caption 9")]
    base = [("0000.png", encoded(pixels(0))), ("0000.txt", b"caption 0")]
    assert fingerprint(base) == fingerprint(base, mtime=99)
    assert len({fingerprint(m) for m in (base, same_length, base[::-1], pairs(1))}) == 4


def test_metadata_is_plain_json(tmp_path):
    meta = {"a": [1, {"b": None}], "ä": "ö"}
    members = [("a.png", PNG), ("a.txt", b"x"), ("a.json", json.dumps(meta).encode())]
    assert TarSource(write_tar(tmp_path / "a.tar", members))[0].meta == meta
