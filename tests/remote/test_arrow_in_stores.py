"""Arrow files read from a web server, from S3 and from GCS: the rows that they have on a disk."""

import importlib.util
import json
import os
import pickle

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.faults import Reject
from data_pipelines.io import blocks, remote, retries
from data_pipelines.opening import open_source
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


def save(folder, *, form="stream", **options):
    """What `datasets` saves: two files of two colours, in batches of three rows or fewer."""
    folder.mkdir(exist_ok=True)
    options = pa.ipc.IpcWriteOptions(**options)
    for name, colour in zip(NAMES, COLOURS, strict=False):
        rows = table(colour)
        with FORMS[form](folder / name, rows.schema, options=options) as writer:
            writer.write_table(rows, max_chunksize=3)
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
