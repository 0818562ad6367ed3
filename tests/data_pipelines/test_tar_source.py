"""Tars: what is a sample, what is refused at opening, and that an index cannot lie."""

import io
import json
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest
from data_makers import encoded, pair, pairs, pixels, write_tar

from data_pipelines.faults import Reject
from data_pipelines.sources import TarSource, build_index, index_path, load_index, scan
from data_pipelines.sources import tar as tar_module

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
    monkeypatch.setattr(tar_module, "_MAX_OPEN", 1)
    tars = [write_tar(tmp_path / f"{i}.tar", pair(f"k{i}", i)) for i in range(3)]
    source = TarSource(tars)
    before = len(os.listdir("/proc/self/fd"))
    assert [source[i].meta["seed"] for i in (0, 1, 2, 1, 0)] == [0, 1, 2, 1, 0]
    assert len(os.listdir("/proc/self/fd")) == before + 1


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
    build_index(path)
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
    monkeypatch.setattr(source, "_read", lambda *_: pytest.fail("it was read"))
    with pytest.raises(Reject, match="caption too long: 50000000 > 65536 bytes"):
        source.captions(0)


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


@pytest.mark.parametrize("second", ["a.png", "a.jpg"])
def test_two_images_for_one_key_are_refused_by_name(tmp_path, second):
    path = write_tar(tmp_path / "a.tar", [("a.png", PNG), (second, PNG), ("a.txt", b"x")])
    with pytest.raises(ValueError, match=f"both 'a.png' and '{second}'; remove one"):
        TarSource(path)


@pytest.mark.parametrize("cut", [1 / 1000, 0.4, 0.77])
def test_a_tar_cut_anywhere_is_refused_with_the_place_and_what_came_before(tmp_path, cut):
    path = write_tar(tmp_path / "a.tar", pairs(20))
    whole = path.read_bytes()
    end = 20 * len(pair("0", 0)) * 1024  # a header and one block for each member
    size = int(end * cut)
    path.write_bytes(whole[:size])
    before = max(0, -(-size // 3072) - 1)
    with pytest.raises(ValueError, match=f"is cut at byte {size}.* {before} whole samples come"):
        TarSource(path)


def test_every_cut_before_the_end_marker_is_noticed(tmp_path):
    path = write_tar(tmp_path / "a.tar", pairs(2))
    whole = path.read_bytes()
    members = 2 * 3 * 1024
    for size in range(0, members + 1, 256):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="is cut|at least one sample"):
            scan(path)
    path.write_bytes(whole[: members + 512])
    assert len(scan(path)) == 2


def test_joined_tars_are_refused_rather_than_read_to_the_first_end(tmp_path):
    path = write_tar(tmp_path / "a.tar", pairs(2))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ValueError, match="data after its end marker .* joined with `cat`"):
        TarSource(path)


@pytest.mark.parametrize(("mode", "kind"), [("w:gz", "gzip"), ("w:bz2", "bzip2"), ("w:xz", "xz")])
def test_compressed_tars_are_refused_with_the_remedy(tmp_path, mode, kind):
    with tarfile.open(tmp_path / "a.tar", mode) as tar:
        tar.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    with pytest.raises(ValueError, match=f"is {kind}; unpack it"):
        TarSource(tmp_path / "a.tar")


@pytest.mark.parametrize("content", [b"<html>" * 200, b"\0" * 4096, os.urandom(1024)])
def test_what_is_no_tar_is_refused(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ValueError, match="not a tar|at least one sample"):
        TarSource(tmp_path / "a.tar")


def test_an_extended_header_may_not_be_huge(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**20
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(2**20 + 1024))
    with pytest.raises(ValueError, match="extended header may have 65536 bytes"):
        TarSource(tmp_path / "a.tar")


def test_a_sparse_member_is_refused(tmp_path):
    info = tarfile.TarInfo("x.png")
    info.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ValueError, match="sparse or unknown"):
        TarSource(tmp_path / "a.tar")


def test_the_index_beside_a_tar_says_what_a_scan_says(tmp_path):
    path = write_tar(tmp_path / "a.tar", [*pairs(9), ("only.txt", b"x"), ("a.b.jpg", b"")])
    scanned = scan(path)
    assert build_index(path) == index_path(path) == tmp_path / "a.tar.index"
    loaded = load_index(path)
    assert (loaded.names, loaded.fingerprint, loaded.strays) == (
        scanned.names,
        scanned.fingerprint,
        scanned.strays,
    )
    assert loaded.spans.keys() == scanned.spans.keys() == {"image", "text", "lines", "json"}
    for role, spans in scanned.spans.items():
        np.testing.assert_array_equal(loaded.spans[role], spans)
    np.testing.assert_array_equal(loaded.ends, scanned.ends)
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "a.tar.index"]  # nothing temporary is left


def test_an_index_saves_the_scan(tmp_path, monkeypatch):
    path = write_tar(tmp_path / "a.tar", pairs(3))
    build_index(path)
    monkeypatch.setattr("data_pipelines.sources.tar_sidecar.scan", None)
    assert TarSource(path)[1].meta == {"seed": 1}


OTHER_TARS = {
    "grown": pairs(40),
    # One member is longer by a block, another is missing.
    "same size": pair("0000", 0) + [("0001.txt", bytes(600)), ("0001.png", PNG)] + pairs(3)[6:],
    "other name": pair("0000", 0) + pair("9999", 1) + pair("0002", 2),
    "longer caption": [(name, data + b"er" * ("1.c" in name)) for name, data in pairs(3)],
}


@pytest.mark.parametrize("keep_time", [False, True])
@pytest.mark.parametrize("members", OTHER_TARS.values(), ids=OTHER_TARS)
def test_the_index_of_another_tar_is_left_aside_and_said(tmp_path, caplog, members, keep_time):
    path = write_tar(tmp_path / "a.tar", pairs(3))
    build_index(path)
    before = path.stat().st_mtime_ns
    write_tar(path, members)
    if keep_time:  # as programs do that write the same tar again
        os.utime(path, ns=(before, before))
    source, found = TarSource(path), scan(path)
    assert "is not used" in caplog.text and f"run `vlp data index {path}`" in caplog.text
    assert source._shards[0].fingerprint == found.fingerprint and len(source) == len(found)


def test_indexes_that_do_not_fit_are_said_in_one_line_however_many(tmp_path, caplog):
    paths = [
        write_tar(
            tmp_path / f"{name}.tar", [(f"{name}{member}", data) for member, data in pairs(3)]
        )
        for name in "abcd"
    ]
    for path in paths[:3]:
        build_index(path)
        os.utime(path, ns=(1, 1))
    assert len(TarSource(paths)) == 12
    (said,) = caplog.messages
    assert f"{paths[0]}.index" in said and "nor are those of 2 other tars" in said
    assert f"run `vlp data index {paths[0]} ...`" in said


def test_an_index_copied_with_its_tar_serves_where_the_time_came_along(tmp_path, caplog):
    path = write_tar(tmp_path / "a.tar", pairs(3))
    build_index(path)
    for kept, copy in ((True, shutil.copy2), (False, shutil.copy)):
        for file in (path, index_path(path)):
            copy(file, tmp_path / file.name.replace("a.tar", f"{kept}.tar"))
        other = tmp_path / f"{kept}.tar"
        assert TarSource(other).fingerprint == TarSource(path).fingerprint
        assert (f"{other}.index" in caplog.text) == (not kept)


@pytest.mark.parametrize("text", [b"longer, and longer, and a bit longer yet", b"shorter"])
def test_a_member_is_never_cut_whatever_an_index_says(tmp_path, monkeypatch, text):
    path = write_tar(tmp_path / "a.tar", pairs(3))
    build_index(path)
    before = path.stat().st_mtime_ns
    write_tar(path, [(name, text if name == "0001.captions" else data) for name, data in pairs(3)])
    os.utime(path, ns=(before, before))
    monkeypatch.setattr("data_pipelines.sources.tar_sidecar._CHECKED_MEMBERS", 1)
    source = TarSource(path)
    assert source[0].captions[0] == b"caption 0"
    with pytest.raises(ValueError, match="changed while it was read: the member with 36 bytes"):
        source.captions(1)


@pytest.mark.parametrize("change", ["garbage", "cut index"])
def test_a_damaged_index_is_refused_with_the_remedy(tmp_path, change):
    path = write_tar(tmp_path / "a.tar", pairs(3))
    index = build_index(path)
    damaged = b"\x80\x04cos\nsystem\n" if change == "garbage" else index.read_bytes()[:300]
    index.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"must fit its tar.*run `vlp data index .*a\.tar`"):
        TarSource(path)


def test_an_index_that_points_outside_its_tar_is_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", pairs(2))
    index = build_index(path)
    with np.load(index) as data:
        arrays = dict(data)
    arrays["spans/image"][1, 1] = 2**40
    with index.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(ValueError, match="points outside the tar"):
        TarSource(path)


def test_a_tar_that_shrinks_while_it_is_read_stops_the_run(tmp_path):
    path = write_tar(tmp_path / "a.tar", pairs(4))
    source = TarSource(path)
    os.truncate(path, 4096)
    with pytest.raises(ValueError, match="changed while it was read"):
        source[3]


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
