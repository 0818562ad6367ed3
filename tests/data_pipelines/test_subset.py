"""Lists of samples: DataComp's arrays of uids, lists of uids and of keys."""

import errno
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_makers import encoded, pair, pairs, pixels, write_tar

from data_pipelines.io import retries
from data_pipelines.opening import open_source
from data_pipelines.sources import build_indexes
from data_pipelines.sources.listed import UID, parse_uids, read_list
from data_pipelines.sources.subset import SubsetSource


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "subsets"


def uid(seed):
    return np.random.default_rng(seed).bytes(16).hex()


def datacomp(folder, *, shards=2, each=6, uids="json"):
    """Shards as DataComp's download script leaves them; every third was not downloaded."""
    folder.mkdir()
    for shard in range(shards):
        members, rows = [], []
        for i in range(shard * each, (shard + 1) * each):
            key = f"{i:012d}"
            rows.append(dict(uid=uid(i), key=key, status="success" if i % 3 else "failed"))
            if i % 3 == 0:
                continue
            said = {"uid": uid(i)} if uids == "json" else {"url": "https://example.org"}
            members += [
                (f"{key}.jpg", encoded(pixels(i), "JPEG")),
                (f"{key}.txt", b"caption %d" % i),
                (f"{key}.json", json.dumps(said).encode()),
            ]
        write_tar(folder / f"{shard:08d}.tar", members)
        if uids == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{shard:08d}.parquet")
    return open_source(folder)


def datacomp_list(path, seeds):
    """As the page of DataComp says: pairs of unsigned 64-bit numbers, sorted."""
    named = [(int(uid(seed)[:16], 16), int(uid(seed)[16:32], 16)) for seed in seeds]
    array = np.array(named, np.dtype("u8,u8"))
    array.sort()
    np.save(path, array)
    return path


def captions_of(source):
    return [int(source.captions(index)[0].split()[-1]) for index in range(len(source))]


@pytest.mark.parametrize("uids", ["json", "parquet"])
def test_a_list_of_datacomp_leaves_the_samples_it_names_in_their_order(tmp_path, uids):
    source = datacomp(tmp_path / "shards", uids=uids)
    file = datacomp_list(tmp_path / "subset.npy", [1, 3, 4, 8, 11, 99])
    subset = SubsetSource(source, file)
    assert captions_of(subset) == [1, 4, 8, 11]
    assert subset.image(2) == encoded(pixels(8), "JPEG")
    *_, own = subset.survey()
    assert [(stray.count, stray.reason) for stray in own.strays] == [
        (4, "no name of the list"),
        (2, "listed, but not in the data"),
    ]
    assert own.strays[0].example == f"{2:012d}"


@pytest.mark.parametrize("ending", ["txt", "json", "npy"])
def test_uids_are_told_from_keys_and_every_form_of_list_chooses_the_same(tmp_path, ending):
    source = datacomp(tmp_path / "shards")
    path = tmp_path / f"list.{ending}"
    if ending == "txt":
        path.write_text(f"{uid(8)}\n\n{uid(1).upper()}\r\n")
    elif ending == "json":
        path.write_text(json.dumps([uid(1), uid(8)]))
    else:
        np.save(path, parse_uids([uid(1), uid(8)])[::-1])
    assert captions_of(SubsetSource(source, path)) == [1, 8]


def test_keys_choose_from_data_of_any_kind(tmp_path):
    source = open_source(write_tar(tmp_path / "a.tar", pairs(5)))
    (tmp_path / "keys.txt").write_text("0003\n0001\n")
    subset = SubsetSource(source, tmp_path / "keys.txt")
    assert [subset.key(i) for i in range(len(subset))] == ["0001", "0003"]
    assert subset.image(1) == source.image(3) and subset.meta(1) == {"seed": 3}


def test_a_key_of_several_files_is_all_of_theirs_unless_the_file_is_named(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        write_tar(tmp_path / f"{name}.tar", [*pair("0", seed), *pair("1", 10 * seed)])
    source, file = open_source(tmp_path / "{a,b}.tar"), tmp_path / "keys.txt"
    file.write_text("0\n")
    both = SubsetSource(source, file)
    assert captions_of_pairs(both) == [1, 2]
    assert [(stray.count, stray.reason[:28]) for stray in both.survey()[-1].strays] == [
        (2, "no name of the list"),
        (1, "of a name that another sampl"),
    ]
    file.write_text("b.tar/0\na.tar/1\nc.tar/0\n")
    one = SubsetSource(source, file)
    assert captions_of_pairs(one) == [10, 2]
    again = SubsetSource(source, file).survey()[-1]  # from the cache
    assert again == one.survey()[-1] and again.strays[1].count == 1


def captions_of_pairs(source):
    return [source.meta(index)["seed"] for index in range(len(source))]


def test_keys_of_32_digits_are_keys_where_samples_have_no_uid(tmp_path):
    members = [member for seed in range(5) for member in pair(uid(seed), seed)]
    source = open_source(write_tar(tmp_path / "a.tar", members))
    (tmp_path / "l.txt").write_text(f"{uid(3)}\n{uid(1)}")
    assert captions_of_pairs(SubsetSource(source, tmp_path / "l.txt")) == [1, 3]


@pytest.mark.parametrize("listed", ["2", uid(2)])
def test_what_cannot_be_read_now_is_not_taken_for_what_is_not_listed(
    tmp_path, cache, monkeypatch, listed
):
    tars = [write_tar(tmp_path / f"{n}.tar", pair(str(n), n)) for n in range(4)]
    (tmp_path / "l.txt").write_text(listed)
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)
    source, real = open_source(tmp_path / "{0..3}.tar"), os.open

    def away(path, *how, **more):
        if str(path) == str(tars[1]):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr("data_pipelines.io.plain.os.open", away)
        with pytest.raises(ValueError, match="1.tar must be read to know .* read failed"):
            SubsetSource(source, tmp_path / "l.txt")
    assert not [*cache.glob("*")]
    build_indexes(tars)
    tars[3].unlink()
    with pytest.raises(ValueError, match="3.tar must be read .* shard gone.*vlp data index"):
        SubsetSource(open_source(tmp_path / "*.tar"), tmp_path / "l.txt")


def test_which_are_listed_is_worked_out_once_and_mapped(tmp_path, cache, monkeypatch):
    source = datacomp(tmp_path / "shards")
    file = datacomp_list(tmp_path / "subset.npy", [1, 8])
    subset = SubsetSource(source, file)
    (kept,) = cache.glob("*.npy")
    assert np.load(kept).tolist() == [0, 5] and isinstance(subset._rows, np.memmap)
    monkeypatch.setattr("data_pipelines.sources.subset._rows", lambda *_: pytest.fail("again"))
    assert captions_of(SubsetSource(source, file)) == [1, 8]
    copy = pickle.loads(pickle.dumps(subset))
    assert isinstance(copy._rows, np.memmap) and captions_of(copy) == [1, 8]
    assert len(pickle.dumps(subset._path)) < 500


def test_another_list_or_other_data_are_another_stream(tmp_path):
    source = datacomp(tmp_path / "shards")
    prints = set()
    for name, seeds in (("a", [1, 8]), ("b", [1, 8]), ("c", [1])):
        prints.add(SubsetSource(source, datacomp_list(tmp_path / f"{name}.npy", seeds)).fingerprint)
    assert len(prints) == 2 and all(print.startswith(source.fingerprint) for print in prints)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"nobody\n", "must name samples of .*none is in the keys of 5 samples, such as"),
        ("a.txt", b"\n", "names none"),
        ("a.json", b'{"a": 1}', "no list of strings"),
        ("a.npy", b"junk", "is none"),
        ("a.txt", b"\xff\xfe", "is none"),
        ("none.txt", None, "is none.*No such file"),
    ],
)
def test_a_list_that_chooses_nothing_or_is_none_is_refused(tmp_path, name, content, said):
    source = open_source(write_tar(tmp_path / "a.tar", pairs(5)))
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        SubsetSource(source, tmp_path / name)
    assert not [path for path in Path(tmp_path / "cache").rglob("*.npy")]


def test_an_array_of_another_type_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(ValueError, match=r"its array is int64 \[3\]"):
        read_list(tmp_path / "a.npy")


def test_uids_that_share_a_half_are_told_apart(tmp_path):
    names = [high * 16 + low * 16 for high in "01f" for low in "01f"]
    for kept in range(1, 9):
        np.save(tmp_path / "a.npy", np.sort(parse_uids(names[:kept])).astype(UID))
        found = read_list(tmp_path / "a.npy").find([*names, "no uid"])
        assert found.tolist() == [*range(kept)] + [-1] * (10 - kept)


@pytest.mark.parametrize("fault", ["damaged", "away"])
def test_a_parquet_beside_a_tar_that_cannot_be_read_is_no_parquet_without_uids(
    tmp_path, cache, monkeypatch, fault
):
    source = datacomp(tmp_path / "shards", uids="parquet")
    beside = tmp_path / "shards" / "00000001.parquet"
    whole, real = beside.read_bytes(), pq.ParquetFile
    file = datacomp_list(tmp_path / "subset.npy", [1, 8])

    def away(path):
        if path == beside:
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    with monkeypatch.context() as patch:
        if fault == "damaged":
            beside.write_bytes(b"no parquet")
        else:
            patch.setattr("data_pipelines.sources.subset.pq.ParquetFile", away)
        with pytest.raises(ValueError, match="1.parquet must be read to know .*; try again, put"):
            SubsetSource(source, file)
    assert not [*cache.glob("*")]
    beside.write_bytes(whole)
    assert captions_of(SubsetSource(source, file)) == [1, 8]


def test_beside_a_parquet_without_uids_those_of_the_json_are_read(tmp_path):
    source = datacomp(tmp_path / "shards")
    table = pa.table({"key": [f"{1:012d}"], "status": ["success"]})
    pq.write_table(table, tmp_path / "shards" / "00000000.parquet")
    file = datacomp_list(tmp_path / "subset.npy", [1, 8])
    assert captions_of(SubsetSource(source, file)) == [1, 8]


def test_a_sample_whose_json_is_broken_has_no_uid(tmp_path):
    members = [*pair("a", 1), *pair("b", 2)]
    members[2] = ("a.json", b"{")
    members[5] = ("b.json", json.dumps({"uid": uid(2)}).encode())
    source = open_source(write_tar(tmp_path / "a.tar", members))
    (tmp_path / "l.txt").write_text(f"{uid(1)}\n{uid(2)}")
    subset = SubsetSource(source, tmp_path / "l.txt")
    assert [subset.key(i) for i in range(len(subset))] == ["b"]
