"""Folders that Hugging Face's `datasets` saves: Arrow streams beside a state.json."""

import json
import pickle

import numpy as np
import pyarrow as pa
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


def test_captions_that_are_not_utf_8_are_read_as_they_are(tmp_path):
    captions = pa.array([b"caf\xe9", b"a dog"], pa.binary()).view(pa.string())
    table = pa.table({"image": [encoded(pixels(i)) for i in range(2)], "caption": captions})
    with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    assert open_source(tmp_path / "a.arrow").captions(0) == (b"caf\xe9",)


def test_what_is_no_arrow_is_refused(tmp_path):
    (tmp_path / "a.arrow").write_bytes(b"no arrow at all")
    with pytest.raises(ValueError, match="must hold rows"):
        open_source(tmp_path / "a.arrow")
