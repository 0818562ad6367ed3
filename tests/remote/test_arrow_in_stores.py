"""Arrow files read from a web server, from S3 and from GCS: the rows that they have on a disk."""

import contextlib
import errno
import importlib.util
import json
import os
import pickle
import tarfile

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipelines.faults import Reject
from data_pipelines.io import blocks, open_file, remote, retries
from data_pipelines.opening import open_source
from data_pipelines.sources import group_order
from data_pipelines.sources.arrow_messages import messages_of
from data_pipelines.sources.stored_arrow import StoredArrowSource
from tests.small.runs import COLOURS, SHAPES, picture

needs_http = pytest.mark.skipif(importlib.util.find_spec("aiohttp") is None, reason="needs aiohttp")
pytestmark = [
    pytest.mark.usefixtures("small_blocks"),
    pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
]
FORMS = {"stream": pa.ipc.new_stream, "file": pa.ipc.new_file}
NAMES = ("data-00000-of-00002.arrow", "data-00001-of-00002.arrow")


def table(colour):
    """A row a shape; the kind is a dictionary."""
    shots = [dict(bytes=picture(colour, shape), path=None) for shape in SHAPES]
    return pa.table(
        {
            "image": shots,
            "caption": [f"a {colour} {shape}" for shape in SHAPES],
            "kind": pa.array([colour] * len(SHAPES)).dictionary_encode(),
            "noise": [np.random.default_rng(0).bytes(9000)] * len(SHAPES),
        }
    )


def save(folder, *, form="stream", most=3, **options):
    """What `datasets` saves: two files of two colours, in batches of three rows or fewer."""
    folder.mkdir(exist_ok=True)
    options = pa.ipc.IpcWriteOptions(**options)
    for name, colour in zip(NAMES, COLOURS, strict=False):
        rows = table(colour)
        with FORMS[form](folder / name, rows.schema, options=options) as writer:
            writer.write_table(rows, max_chunksize=most)
    state = {"_data_files": [{"filename": name} for name in NAMES]}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def everything(source):
    rows = range(len(source))
    return [(source.key(i), source.image(i), source.captions(i), source.meta(i)) for i in rows]


@needs_http
@pytest.mark.parametrize(
    "options",
    [
        dict(form="stream"),
        dict(form="file"),
        dict(form="stream", compression="zstd"),
        dict(form="stream", use_legacy_format=True),
    ],
)
def test_rows_of_a_web_server_that_fails_are_those_of_the_disk(web, options):
    folder, place, faults = web
    here = open_source(save(folder / "set", **options))
    faults.plan = (500, "cut", 429, 503)
    there = open_source(f"{place}/set")
    assert len(there) == 8 and everything(there) == everything(here)
    assert faults.tries and max(faults.tries.values()) >= 5
    copy = pickle.loads(pickle.dumps(there))
    assert copy.fingerprint == there.fingerprint and copy.image(7) == here.image(7)
    assert len(open_source(f"{place}/set/*00001*.arrow")) == 4


@needs_http
def test_of_a_file_only_what_is_asked_for_is_read(web):
    folder, place, faults = web
    save(folder / "set")
    source = open_source(f"{place}/set")
    blocks._after_fork()
    before = faults.reads
    source.image(3)  # the last row of the first file, a batch of its own
    assert 0 < faults.reads - before <= 6
    assert (folder / "set" / NAMES[0]).stat().st_size > 9 * remote.BLOCK_BYTES


@needs_http
def test_a_file_that_changes_goes_or_is_not_given_costs_its_rows(web, monkeypatch):
    folder, place, faults = web
    save(folder / "set")
    source, whole = open_source(f"{place}/set"), open_source(folder / "set")
    faults.plan = (500,) * retries.TRIES * 2
    blocks._after_fork()
    with pytest.raises(Reject) as caught:
        source.image(0)
    assert caught.value.reason == "read failed"
    faults.plan = ()
    assert source.image(0) == whole.image(0)
    monkeypatch.setattr(remote, "CHECKED_EVERY_S", -1.0)
    os.utime(folder / "set" / NAMES[0], ns=(1, 1))
    (folder / "set" / NAMES[1]).unlink()
    for index, reason in ((3, "shard changed"), (7, "shard gone")):
        with pytest.raises(Reject) as caught:
            source.image(index)
        assert caught.value.reason == reason
    assert source.captions(1) == whole.captions(1)  # what was read stays


@needs_http
def test_a_store_that_gives_nothing_at_opening_is_no_damage(web):
    folder, place, faults = web
    save(folder / "set")
    faults.plan = (503,) * retries.TRIES * 2
    with pytest.raises(ValueError, match="data-00000.* cannot be read: .*503.*; try again"):
        open_source(f"{place}/set/{NAMES[0]}")


@needs_http
@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_cut_off_keeps_its_whole_batches_and_one_that_is_none_is_refused(
    web, form, caplog
):
    folder, place, _ = web
    path = save(folder / "set", form=form) / NAMES[1]
    here, whole = open_source(folder / "set"), open_source(f"{place}/set")
    path.write_bytes(path.read_bytes()[:-9000])
    source = open_source(f"{place}/set")
    assert len(source) == 7 and source.image(6) == here.image(6)
    (stray,) = source.survey()[0].strays
    assert "cut off or damaged" in stray.reason and "cut off or damaged" in caplog.text
    assert source.fingerprint != whole.fingerprint
    path.write_bytes(b"no arrow at all" * 100)
    assert len(open_source(f"{place}/set")) == 4
    with pytest.raises(ValueError, match="must hold rows"):
        open_source(f"{place}/set/{NAMES[1]}")


@needs_http
def test_bytes_that_are_damaged_are_rejected_or_other_values_and_never_a_crash(web):
    folder, place, _ = web
    data, rng = (save(folder / "set") / NAMES[0]).read_bytes(), np.random.default_rng(0)
    for number in range(12):
        damaged = bytearray(data)
        for spot in rng.integers(500, 2500, 4).tolist():
            damaged[spot] = int(rng.integers(256))
        (folder / f"{number}.arrow").write_bytes(damaged)
        try:
            source = open_source(f"{place}/{number}.arrow")
        except ValueError:
            continue
        for index in range(len(source)):
            for read in (source.image, source.captions):
                try:
                    assert read(index)
                except Reject as fault:
                    assert fault.reason != "read failed"


def batches(path):
    """Where the batches of a file begin and end."""
    with contextlib.closing(open_file(path)) as file:
        found = messages_of(file)
    assert not found.damage
    return [(batch.start, batch.start + batch.length) for batch in found.batches]


def opened(folder):
    """The source of both files of a folder, read as those of a store are, and its strays."""
    source = StoredArrowSource([str(folder / name) for name in NAMES])
    return source, source.survey()[0].strays


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("harm", "kept"),
    [
        (lambda data, first, _: data[: first[0]] + bytes(len(data) - first[0]), 4),
        (lambda data, first, _: data.replace(data[slice(*first)], bytes(first[1] - first[0])), 4),
        (lambda data, _, last: data[: last[0] + 4], 7),
        (lambda data, _, last: data[: last[0]], 7),
        (lambda data, _, last: data[: last[0] + 2], 7),
        (lambda data, _, last: data[: last[0]] + b"\xff" * 4 + bytes(4) + data[last[0] :], 7),
        (lambda data, *_: data + bytes(5), 8),
    ],
    ids=["zeros to the end", "zeros", "in a length", "between", "in a mark", "a mark", "behind"],
)
def test_rows_behind_damage_are_lost_and_said(tmp_path, form, harm, kept):
    path = save(tmp_path, form=form) / NAMES[1]
    path.write_bytes(harm(path.read_bytes(), *batches(path)))
    source, (stray,) = opened(tmp_path)
    assert len(source) == kept and NAMES[1] in stray.example


def test_a_file_whose_magic_is_filled_up_is_read_as_arrow_rs_writes_it(tmp_path):
    path = save(tmp_path, form="file") / NAMES[1]
    data = path.read_bytes()
    path.write_bytes(data[:8] + bytes(56) + data[8:])
    source, strays = opened(tmp_path)
    assert len(source) == 8 and not strays and source.captions(7) == (b"a green frame",)


@pytest.mark.parametrize(
    ("rows", "places"), [(2, 1), (2**40 + 3, 1), (2**63 - 1, 1), (2**40 + 3, -1), (2**63 - 1, -1)]
)
def test_a_batch_that_says_other_rows_than_its_columns_or_its_bytes_is_damage(
    tmp_path, rows, places
):
    path = save(tmp_path) / NAMES[1]
    data = path.read_bytes()
    (start, end), _ = batches(path)
    old, new = (number.to_bytes(8, "little") for number in (3, rows))
    path.write_bytes(data[:start] + data[start:end].replace(old, new, places) + data[end:])
    source, (stray,) = opened(tmp_path)
    assert len(source) == 4 and NAMES[1] in stray.example


def test_no_damaged_byte_of_a_header_raises_what_nobody_expects(tmp_path):
    path = save(tmp_path) / NAMES[1]
    data = path.read_bytes()
    for spot in range(0, batches(path)[0][0] + 600, 6):
        path.write_bytes(data[:spot] + bytes([data[spot] ^ 0x81]) + data[spot + 1 :])
        try:
            source, strays = opened(tmp_path)
        except ValueError as error:
            assert NAMES[1] in str(error)
            continue
        assert len(source) == 8 or strays
        for index in range(4, len(source)):
            for read in (source.image, source.captions, source.meta):
                with contextlib.suppress(Reject):
                    read(index)


def test_damage_in_a_column_costs_no_other(tmp_path):
    ends = np.arange(5, dtype=np.int32)
    bad = pa.array([b"caf\xe9"] * 4).view(pa.string())
    rows = table("red").append_column("said", pa.ListArray.from_arrays(ends, bad))
    for name in NAMES:
        with pa.ipc.new_stream(tmp_path / name, rows.schema) as writer:
            writer.write_table(rows)
    path = tmp_path / NAMES[1]
    out = ends + np.array([0, 2**30, 0, 0, 0], np.int32)
    path.write_bytes(path.read_bytes().replace(ends.tobytes(), out.tobytes()))
    source, _ = opened(tmp_path)
    assert source.meta(0)["said"] == ["caf\ufffd"]  # not UTF-8 is no damage
    assert source.image(4) == picture("red", SHAPES[0])
    with pytest.raises(Reject, match=f"shard damaged: .*said.*{NAMES[1]}"):
        source.meta(4)


def not_now(*_):
    raise OSError(errno.EIO, "not now")


@needs_http
@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_rows_beside_tars_are_refused_and_tables_of_downloads_are_not(web, ending, monkeypatch):
    folder, place, _ = web
    with tarfile.open(folder / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"), None)
    pq.write_table(table("red").select(["caption"]), folder / "a.parquet")
    assert len(open_source(place)) == 1
    blocks._after_fork()
    with monkeypatch.context() as patch:
        patch.setattr(remote.RemoteFile, "_fetch", not_now)
        with pytest.raises(ValueError, match="a.parquet cannot be read: .*; try again"):
            open_source(place)
    pq.write_table(table("red"), folder / f"a.{ending}")
    with pytest.raises(ValueError, match=f"holds .*a.tar and .*a.{ending}; say which by a pattern"):
        open_source(place)


@pytest.mark.parametrize(("part", "said"), [("captions", False), ("image", True)])
def test_only_who_reads_pictures_out_of_order_is_told_so(tmp_path, monkeypatch, caplog, part, said):
    monkeypatch.setattr(group_order, "_JUDGED_AT", 3)
    save(tmp_path, most=4)
    source = StoredArrowSource([str(tmp_path / name) for name in NAMES], cache_bytes=1)
    for index in (0, 4, 1, 5):
        source.captions(index)
        getattr(source, part)(index)
    assert ("is read for one sample" in caplog.text) == said


@needs_http
@pytest.mark.parametrize(
    ("files", "spec", "said"),
    [
        (["dataset_dict.json"], "set", "set holds the splits train, test; name one, such as .*"),
        (["a.array_record"], "set", "a.array_record is an ArrayRecord file.*copy them to a disk"),
        (["a.arrow", "b.parquet"], "set", "lies beside others; say which by a pattern"),
        (["x.bin"], "set", "are tars, parquet or Arrow files, .* holds none"),
    ],
)
def test_what_is_not_read_from_a_store_is_refused_with_the_remedy(web, files, spec, said):
    folder, place, _ = web
    (folder / "set").mkdir()
    for name in files:
        (folder / "set" / name).write_text('{"splits": ["train", "test"]}')
    with pytest.raises(ValueError, match=said):
        open_source(f"{place}/{spec}")


@pytest.mark.parametrize("spec", ["tfds:gs://bucket/sketches", "tfds:sketches"])
def test_what_tfds_prepared_is_refused_where_it_lies_in_a_store(monkeypatch, spec):
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket")
    with pytest.raises(ValueError, match="TFDS prepared is read from a disk, .*; copy the folder"):
        open_source(spec)


@pytest.mark.slow
def test_rows_of_s3_and_gcs_are_those_of_the_disk(store, tmp_path):
    here = open_source(save(tmp_path / "set"))
    files, root = fsspec.core.url_to_fs(f"{store}/set")
    for path in (tmp_path / "set").iterdir():
        files.pipe_file(f"{root}/{path.name}", path.read_bytes())
    there = open_source(f"{store}/set")
    assert everything(there) == everything(here)
    before = there.fingerprint
    files.pipe_file(f"{root}/{NAMES[0]}", (tmp_path / "set" / NAMES[0]).read_bytes())
    assert open_source(f"{store}/set").fingerprint == before
    files.pipe_file(f"{root}/{NAMES[0]}", (tmp_path / "set" / NAMES[1]).read_bytes())
    assert open_source(f"{store}/set").fingerprint != before
    with pytest.raises(Reject, match="shard changed"):
        open_source(f"{store}/set") and pickle.loads(pickle.dumps(there)).image(0)
