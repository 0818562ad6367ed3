"""The index of tars: it says what a scan says, for the very tars, and holds two bytes a sample."""

import os
import pickle
import shutil

import numpy as np
import pytest
from data_makers import encoded, pair, pairs, pixels, write_tar

from data_pipelines.faults import Reject
from data_pipelines.opening import open_source
from data_pipelines.sources import (
    TarSource,
    build_indexes,
    columns,
    index_path,
    load_index,
    scan,
    tar_build,
    tar_indexes,
)
from data_pipelines.sources.tar_index import TarIndex, save_index
from data_pipelines.sources.tar_scan import ESCAPE, stretches

PNG = encoded(pixels(0))


def facts(tar):
    """Everything that is known of a tar, to be compared."""
    lists = {name: getattr(tar, name).tolist() for name in ("blocks", "bases", "odd")}
    return {**{name: getattr(tar, name) for name in tar.__dataclass_fields__}, **lists}


def everything(source):
    return [(source.key(i), source.image(i), source.captions(i)) for i in range(len(source))]


def test_the_index_says_what_a_scan_says(tmp_path):
    odd = [("only.txt", b"x"), ("a.b.jpg", b""), ("c.png", b""), ("d.png", b""), ("c.txt", b"")]
    paths = [write_tar(tmp_path / f"{n}.tar", [*pairs(70 + n), *odd]) for n in range(3)]
    (built,) = build_indexes(paths)
    assert built.path == index_path(tmp_path) == tmp_path / "tars.index" and built.scanned == 3
    index = load_index(str(tmp_path))
    for row, path in enumerate(paths):
        assert facts(index.tar(row)) == facts(scan(path))
    assert sorted(os.listdir(tmp_path)) == ["0.tar", "1.tar", "2.tar", "tars.index"]


def test_an_index_saves_the_scan_of_any_choice_of_its_tars(tmp_path, monkeypatch):
    paths = [write_tar(tmp_path / f"{n}.tar", pair(f"k{n}", n)) for n in range(4)]
    expected = TarSource([paths[2], paths[0]])
    build_indexes(paths)
    monkeypatch.setattr(tar_indexes, "scan", None)
    source = TarSource([paths[2], paths[0]])
    assert [source[i].meta["seed"] for i in range(2)] == [2, 0]
    assert (source.fingerprint, source.survey()) == (expected.fingerprint, expected.survey())


def test_members_apart_and_long_samples_are_found(tmp_path):
    """Against the members as they were written, in an order of their own."""
    rng = np.random.default_rng(0)
    members = [
        (f"{key}.{end}", bytes(rng.integers(0, 2000)) + f"{key}.{end}".encode())
        for key in range(150)
        for end in ("png", "captions", "json")
    ]
    members[3] = ("1.png", bytes(ESCAPE * 512) + b"1.png")
    for number in (4, 100, 101, 290):
        members.insert(int(rng.integers(0, len(members))), members.pop(number))
    path = write_tar(tmp_path / "a.tar", members)
    source = TarSource(path)
    assert {kind for *_, kind in scan(path).odd.tolist()} == {0, 1}
    for index in rng.permutation(len(source)).tolist():
        key = source.key(index)
        held = {name: data for name, data in members if name.split(".")[0] == key}
        assert source.image(index) == held[f"{key}.png"]
        assert source.captions(index) == (held[f"{key}.captions"],)
    firsts = list(dict.fromkeys(name.split(".")[0] for name, _ in members))
    assert [source.key(i) for i in range(len(source))] == firsts


def test_consecutive_samples_are_consecutive_bytes(tmp_path):
    found = scan(write_tar(tmp_path / "a.tar", pairs(200)))
    places = [next(stretches(found.blocks, found.bases, found.odd, row)) for row in range(200)]
    assert places == [(3072 * row, 3072 * (row + 1)) for row in range(200)]


def test_a_sample_takes_little_more_than_two_bytes(tmp_path):
    one = scan(write_tar(tmp_path / "a.tar", pairs(6400)))
    save_index(tmp_path / "i", [one])
    assert (tmp_path / "i").stat().st_size < 6400 * 2.07 + 1500


def test_workers_map_the_file_and_copy_nothing(tmp_path):
    paths = [write_tar(tmp_path / f"{n}.tar", pairs(500)) for n in range(4)]
    build_indexes(paths)
    source = TarSource(paths)
    sent = pickle.dumps(source)
    assert len(sent) < 2000
    assert everything(pickle.loads(sent))[-3:] == everything(source)[-3:]
    build_indexes([write_tar(paths[0], pairs(3))])
    with pytest.raises(ValueError, match="was written anew while it was read; start over"):
        pickle.loads(sent)


def test_only_what_is_new_is_read_and_what_is_gone_is_forgotten(tmp_path):
    paths = [write_tar(tmp_path / f"{n}.tar", pair(f"k{n}", n)) for n in range(4)]
    build_indexes(paths[:3])
    write_tar(paths[1], pairs(2))
    paths[0].unlink()
    seen = []
    (built,) = build_indexes(paths, done=lambda tar: seen.append(tar.name))
    assert (built.scanned, built.forgotten) == (2, ("0.tar",))
    assert sorted(seen) == ["1.tar", "2.tar", "3.tar"]
    assert [len(tar) for tar in built.tars] == [2, 1, 1]
    assert build_indexes(paths[2:])[0].scanned == 0 and len(load_index(str(tmp_path))) == 3


def test_a_builder_that_is_stopped_goes_on(tmp_path, monkeypatch):
    paths = [write_tar(tmp_path / f"{n}.tar", pair(f"k{n}", n)) for n in range(7)]
    monkeypatch.setattr(tar_build, "_PART", 2)
    real, scans = tar_build.scanned, []

    def stopped(address):
        scans.append(address)
        return real(address) if len(scans) < 6 else None.stopped

    monkeypatch.setattr(tar_build, "scanned", stopped)
    with pytest.raises(AttributeError):
        build_indexes(paths, processes=1)
    assert not (tmp_path / "tars.index").exists()
    monkeypatch.setattr(tar_build, "scanned", real)
    (built,) = build_indexes(paths, processes=1)
    assert built.scanned == 3 and [len(tar) for tar in built.tars] == [1] * 7
    assert sorted(os.listdir(tmp_path)) == [*(p.name for p in paths), "tars.index"]


def test_a_folder_that_cannot_be_written_has_its_index_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    path = write_tar(tmp_path / "data" / "a.tar", pairs(2))
    monkeypatch.setattr(tar_indexes.os, "access", lambda *_: False)
    (built,) = build_indexes([path])
    assert built.path.parent == tmp_path / "cache" / "tars"
    monkeypatch.setattr(tar_indexes, "scan", None)
    assert len(TarSource(path)) == 2 and os.listdir(tmp_path / "data") == ["a.tar"]


OTHER_TARS = {
    "grown": pairs(40),
    # One member is longer by a block, another is missing.
    "same size": pair("0000", 0) + [("0001.txt", bytes(600)), ("0001.png", PNG)] + pairs(3)[6:],
    "other name": pair("0000", 0) + pair("9999", 1) + pair("0002", 2),
    "longer caption": [(name, data + b"er" * ("1.c" in name)) for name, data in pairs(3)],
}


@pytest.mark.parametrize("members", OTHER_TARS.values(), ids=OTHER_TARS)
def test_a_tar_that_was_written_since_is_read_and_said(tmp_path, caplog, members):
    path = write_tar(tmp_path / "a.tar", pairs(3))
    build_indexes([path])
    write_tar(path, members)
    source, found = TarSource(path), scan(path)
    assert "since it was indexed" in caplog.text and f"run `vlp data index {path}`" in caplog.text
    assert len(source) == len(found) and everything(source)


@pytest.mark.parametrize("name", ["same size", "other name", "longer caption"])
def test_another_tar_of_the_same_size_and_time_is_found_when_it_is_read(tmp_path, name):
    """As programs leave it that write the same tar again."""
    path = write_tar(tmp_path / "a.tar", pairs(3))
    build_indexes([path])
    before = path.stat()
    write_tar(path, OTHER_TARS[name])
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    source = TarSource(path)
    for index in range(3):
        with pytest.raises(Reject, match="shard changed"):
            source[index]


def test_tars_that_were_written_since_are_said_in_one_line_however_many(tmp_path, caplog):
    paths = [write_tar(tmp_path / f"{name}.tar", pair(name, 0)) for name in "abcd"]
    build_indexes(paths)
    for path in paths[:3]:
        os.utime(path, ns=(1, 1))
    assert len(TarSource(paths)) == 4
    (said,) = caplog.messages
    assert str(paths[0]) in said and "as were 2 others" in said
    assert f"run `vlp data index {paths[0]} ...`" in said


def test_an_index_copied_with_its_tar_serves_where_the_time_came_along(tmp_path, caplog):
    folders = [tmp_path / name for name in ("here", "kept", "lost")]
    for folder in folders:
        folder.mkdir()
    path = write_tar(folders[0] / "a.tar", pairs(3))
    (built,) = build_indexes([path])
    for folder, copy in zip(folders[1:], (shutil.copy2, shutil.copy), strict=True):
        copy(path, folder)
        copy(built.path, folder)
        assert TarSource(folder / "a.tar").fingerprint == TarSource(path).fingerprint
        assert ("since it was indexed" in caplog.text) == (copy is shutil.copy)


def test_an_index_of_an_older_vlp_is_left_aside_and_said(tmp_path, caplog):
    path = write_tar(tmp_path / "a.tar", pairs(2))
    (tmp_path / "a.tar.index").write_bytes(b"PK")
    assert len(open_source(tmp_path)) == len(open_source(f"{tmp_path}/*")) == 2
    assert "a.tar.index is of an older vlp" in caplog.text
    caplog.clear()
    build_indexes([path])
    assert len(open_source(tmp_path)) == 2 and not caplog.text


@pytest.mark.parametrize("change", ["garbage", "cut", "outside", "counts", "object"])
def test_a_damaged_index_is_refused_with_the_remedy(tmp_path, change):
    path = write_tar(tmp_path / "a.tar", pairs(3))
    file = build_indexes([path])[0].path
    data = file.read_bytes()
    if change == "counts":
        arrays = {name: np.array(part) for name, part in columns.load(file).items()}
        arrays["tars"]["samples"] = 2
        columns.save(file, {name: [part] for name, part in arrays.items()})
    else:
        changed = {
            "garbage": b"\x80\x04cos\nsystem\n",
            "cut": data[:-200],
            "outside": data.replace(b'"place": 0', b'"place":-9'),
            "object": data.replace(b'"<u2"', b'"|O8"'),
        }[change]
        assert changed != data
        file.write_bytes(changed)
    with pytest.raises(ValueError, match=r"must be whole, .*remove it and run `vlp data index`"):
        TarSource(path)


def test_tars_of_an_index_are_named_by_patterns_after_they_are_gone(tmp_path):
    paths = [write_tar(tmp_path / f"s-{n}.tar", pair(f"k{n}", n)) for n in range(3)]
    build_indexes(paths)
    paths[1].unlink()
    for spec in (f"{tmp_path}/*.tar", f"{tmp_path}/s-{{0..2}}.tar", str(tmp_path), f"{tmp_path}/*"):
        source = open_source(spec)
        assert len(source) == 3 and source.survey()[0].gone == (str(paths[1]),)
    assert len(open_source(f"{tmp_path}/s-[02].tar")) == 2


def test_an_index_in_memory_pickles(tmp_path):
    index = TarIndex.of([scan(write_tar(tmp_path / "a.tar", pairs(2)))])
    assert facts(pickle.loads(pickle.dumps(index)).tar(0)) == facts(index.tar(0))
