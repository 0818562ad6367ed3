"""Folders that Hugging Face's `datasets` saves: Arrow streams beside a state.json."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_makers import encoded, pixels

from data_pipelines.faults import Reject
from data_pipelines.opening import open_source

SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("caption", pa.string()),
        ("width", pa.int32()),
    ]
)


def rows(first, count):
    return [
        dict(image=dict(bytes=encoded(pixels(i)), path=None), caption=f"caption {i}", width=i)
        for i in range(first, first + count)
    ]


def save(folder, *, files=2, per_file=5, **state):
    """What `Dataset.save_to_disk` writes: https://huggingface.co/docs/datasets/process#save."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{file:05d}-of-{files:05d}.arrow" for file in range(files)]
    for file, name in enumerate(names):
        table = pa.Table.from_pylist(rows(file * per_file, per_file), schema=SCHEMA)
        with pa.ipc.new_stream(folder / name, SCHEMA) as writer:
            writer.write_table(table, max_chunksize=2)
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train"} | state
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_saved_folder_is_its_rows_in_order(tmp_path):
    source = open_source(save(tmp_path / "set"))
    assert len(source) == 10
    for index in (9, 0, 4, 5, 6):
        assert source.image(index) == encoded(pixels(index))
        assert source.captions(index) == (f"caption {index}".encode(),)
        assert source.meta(index) == {"width": index}
    assert source.key(7) == "data-00001-of-00002:2"
    assert source.file(7).endswith("data-00001-of-00002.arrow")
    assert source.survey()[0].without_image == 0
    copy = pickle.loads(pickle.dumps(source))
    assert copy.image(6) == source.image(6) and copy.fingerprint == source.fingerprint


def test_files_of_the_other_form_of_arrow_are_read_by_name(tmp_path):
    table = pa.Table.from_pylist(rows(0, 5), schema=SCHEMA)
    with pa.ipc.new_file(tmp_path / "a.arrow", SCHEMA) as writer:
        writer.write_table(table, max_chunksize=2)
    source = open_source(tmp_path / "a.arrow")
    assert [source.captions(i) for i in range(5)] == [(f"caption {i}".encode(),) for i in range(5)]


def test_rows_that_hold_nothing_are_counted_and_rejected(tmp_path):
    table = pa.Table.from_pylist(
        [dict(image=None, caption=None), dict(image=dict(bytes=None, path="x"), caption="")],
        schema=SCHEMA,
    )
    with pa.ipc.new_stream(tmp_path / "a.arrow", SCHEMA) as writer:
        writer.write_table(table)
    source = open_source(tmp_path / "a.arrow")
    assert (source.survey()[0].without_image, source.survey()[0].without_caption) == (2, 1)
    for read, reason in ((source.image, "image missing"), (source.captions, "caption missing")):
        with pytest.raises(Reject, match=reason):
            read(0)
    with pytest.raises(Reject, match="image missing: it names 'x'"):
        source.image(1)
    with pytest.raises(Reject, match="caption empty"):
        source.captions(1)


def test_of_a_file_that_is_cut_off_the_whole_batches_stay(tmp_path, caplog):
    folder = save(tmp_path / "set")
    path = folder / "data-00001-of-00002.arrow"
    path.write_bytes(path.read_bytes()[:-400])
    source = open_source(folder)
    assert 5 <= len(source) < 10 and source.image(len(source) - 1)
    (stray,) = source.survey()[0].strays
    assert "cut off or damaged" in stray.reason and "cut off or damaged" in caplog.text


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (dict(_indices_files=[{"filename": "i.arrow"}]), "call flatten_indices"),
        (dict(_data_files=[]), "must name the Arrow files"),
        (dict(_data_files=[{"filename": "../x.arrow"}]), "must name the Arrow files"),
    ],
)
def test_a_folder_that_cannot_be_read_as_it_was_meant_is_refused(tmp_path, state, said):
    with pytest.raises(ValueError, match=said):
        open_source(save(tmp_path / "set", **state))


def test_of_several_splits_one_is_named(tmp_path):
    for split in ("train", "test"):
        save(tmp_path / split)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(ValueError, match="splits train, test; name one, such as .*train"):
        open_source(tmp_path)
    assert len(open_source(tmp_path / "train")) == 10


@pytest.mark.parametrize("name", ["image", "caption"])
def test_places_that_lead_out_of_the_file_are_rejected_and_end_no_process(tmp_path, name):
    path = save(tmp_path / "set", files=1) / "data-00000-of-00001.arrow"
    column = pa.ipc.open_stream(path.read_bytes()).read_next_batch().column(name)
    column = column.field("bytes") if name == "image" else column
    good = column.buffers()[1].to_pybytes()[:12]  # where each of two rows begins and ends
    bad = np.frombuffer(good, np.int32) + np.array([0, 2**30, 0], np.int32)
    path.write_bytes(path.read_bytes().replace(good, bad.tobytes(), 1))
    source = open_source(tmp_path / "set")
    read = source.image if name == "image" else source.captions
    for index in (0, 1):
        with pytest.raises(Reject, match="shard damaged: .*data-00000.*: "):
            read(index)
    assert read(2)


BAD = pa.array([b"caf\xe9", b"a dog"]).view(pa.string())  # not UTF-8


@pytest.mark.parametrize(
    "captions",
    [
        BAD,
        BAD.view(pa.binary()).cast(pa.large_binary()).view(pa.large_string()),
        pa.DictionaryArray.from_arrays(pa.array([0, 1]), BAD),
        pa.ListArray.from_arrays([0, 1, 2], BAD),
        pa.LargeListArray.from_arrays([0, 1, 2], BAD),
    ],
    ids=lambda captions: str(captions.type),
)
def test_texts_that_are_not_utf_8_are_read_as_they_are(tmp_path, captions):
    image = pa.StructArray.from_arrays(
        [pa.array([encoded(pixels(i)) for i in range(2)]), BAD], ["bytes", "path"]
    )
    pairs = pa.MapArray.from_arrays([0, 1, 2], BAD, pa.FixedSizeListArray.from_arrays(BAD, 1))
    table = pa.table({"image": image, "caption": captions, "pairs": pairs})
    with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    source = open_source(tmp_path / "a.arrow")
    assert source.captions(0) == (b"caf\xe9",) and source.image(1) == encoded(pixels(1))
    assert source.meta(1) == {"pairs": [{"key": "a dog", "value": ["a dog"]}]}


@pytest.mark.parametrize("kept", [-8, -12])
def test_a_stream_without_the_mark_of_its_end_is_said_to_be_cut_off(tmp_path, kept):
    path = save(tmp_path / "set") / "data-00001-of-00002.arrow"
    path.write_bytes(path.read_bytes()[:kept])
    (stray,) = open_source(tmp_path / "set").survey()[0].strays
    assert "cut off or damaged" in stray.reason and "data-00001" in stray.example


def test_zeros_in_the_place_of_a_batch_are_no_end(tmp_path):
    path = save(tmp_path / "set", files=1) / "data-00000-of-00001.arrow"
    data = path.read_bytes()
    third = data.rindex(b"\xff" * 4, 0, -8)
    path.write_bytes(data[:third] + bytes(len(data) - third))
    source = open_source(tmp_path / "set")
    assert len(source) == 4 and "data-00000" in source.survey()[0].strays[0].example


@pytest.mark.parametrize("name", [b"wid\xff\xfe", b"image"])
def test_a_file_with_damaged_names_of_columns_is_left_out_and_said(tmp_path, name):
    path = save(tmp_path / "set") / "data-00001-of-00002.arrow"
    path.write_bytes(path.read_bytes().replace(b"width", name))
    source = open_source(tmp_path / "set")
    assert len(source) == 5 and "data-00001" in source.survey()[0].strays[0].example


def test_files_with_other_columns_are_refused_by_name(tmp_path):
    path = save(tmp_path / "set") / "data-00001-of-00002.arrow"
    path.write_bytes(path.read_bytes().replace(b"width", b"wedth"))
    with pytest.raises(ValueError, match="wedth in .*data-00001.* beside .*width in .*data-00000"):
        open_source(tmp_path / "set")


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_rows_beside_tars_are_refused(tmp_path, ending):
    table = pa.Table.from_pylist(rows(0, 5), schema=SCHEMA)
    pq.write_table(table, tmp_path / f"b.{ending}")  # what it holds is no matter to Arrow's
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(ValueError, match="holds a.tar and .*b[.].*; say which by a pattern"):
        open_source(tmp_path)


def test_what_is_no_arrow_is_refused(tmp_path):
    (tmp_path / "a.arrow").write_bytes(b"no arrow at all")
    with pytest.raises(ValueError, match="must hold rows"):
        open_source(tmp_path / "a.arrow")
