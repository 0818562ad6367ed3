"""Parquet files as img2dataset and Hugging Face write them; what pyarrow reads is the reference."""

import datetime
import decimal
import json
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_makers import encoded, pixels, write_tar

from data_pipelines.faults import Reject
from data_pipelines.limits import Limits
from data_pipelines.opening import open_source
from data_pipelines.sources import TarSource
from data_pipelines.sources.parquet import ParquetSource

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# https://github.com/rom1504/img2dataset, writer.py: the metadata, and the pictures behind them.
IMG2DATASET = pa.schema(
    [
        ("url", pa.string()),
        ("caption", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("sha256", pa.string()),
        ("jpg", pa.binary()),
    ]
)


def img2dataset_rows(first, count):
    """Rows of which every fourth could not be downloaded."""
    for i in range(first, first + count):
        there = i % 4 != 3
        yield dict(
            url=f"https://example.org/{i}.jpg",
            caption=f"caption {i}",
            key=f"{i:09d}",
            status="success" if there else "failed_to_download",
            error_message=None if there else "HTTP Error 404",
            width=12 if there else None,
            sha256="0" * 64 if there else None,
            jpg=encoded(pixels(i), "JPEG") if there else None,
        )


def write(path, rows, schema, *, groups=3):
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=groups)
    return path


def hf_rows(count):
    for i in range(count):
        yield dict(
            image=dict(bytes=encoded(pixels(i)), path=f"{i}.png"), text=f"text {i}", label=i % 2
        )


HF = pa.schema([("image", PICTURE), ("text", pa.string()), ("label", pa.int64())])


def reason(read):
    with pytest.raises(Reject) as caught:
        read()
    return caught.value.reason


def test_every_row_of_img2datasets_files_is_what_pyarrow_reads(tmp_path):
    for shard in range(3):
        write(tmp_path / f"{shard:05d}.parquet", img2dataset_rows(10 * shard, 10), IMG2DATASET)
        (tmp_path / f"{shard:05d}_stats.json").write_text("{}")
    source = ParquetSource(sorted(tmp_path.glob("*.parquet")))
    reference = pa.concat_tables(map(pq.read_table, sorted(tmp_path.glob("*.parquet"))))
    order = np.random.default_rng(0).permutation(30).tolist()
    rows = reference.to_pylist()
    assert len(source) == 30
    for index in order:
        row = rows[index]
        assert source.key(index) == row["key"]
        assert source.captions(index) == (row["caption"].encode(),)
        assert source.file(index) == str(tmp_path / f"{index // 10:05d}.parquet")
        meta = source.meta(index)
        assert meta == {k: row[k] for k in row if k not in ("jpg", "caption", "key")}
        if row["jpg"] is None:
            assert reason(lambda index=index: source.image(index)) == "image missing"
        else:
            assert source.image(index) == row["jpg"]
    (survey,) = source.survey()
    assert (survey.samples, survey.without_image, survey.without_caption) == (30, 7, 0)


def test_what_img2dataset_could_not_download_is_left_out_and_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a").mkdir()
    for shard in range(2):
        rows = img2dataset_rows(10 * shard, 10)
        write(tmp_path / "a" / f"{shard:05d}.parquet", rows, IMG2DATASET)
    opened = open_source(tmp_path / "a")
    for source in (opened, pickle.loads(pickle.dumps(opened))):
        assert [int(source.key(i)) for i in range(len(source))] == [
            i for i in range(20) if i % 4 != 3
        ]
        assert source.image(14) == encoded(pixels(18), "JPEG")
        (survey,) = source.survey()
        (stray,) = survey.strays
        assert (survey.without_image, stray.count, stray.example) == (0, 5, f"{3:09d}")
    whole = ParquetSource(sorted((tmp_path / "a").glob("*.parquet")))
    assert source.fingerprint == whole.fingerprint + "[downloaded]"


def test_rows_whose_status_cannot_be_read_stay_and_are_rejected(tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "a.parquet", img2dataset_rows(0, 8), IMG2DATASET, groups=4)
    data = bytearray(path.read_bytes())
    begin = pq.read_metadata(path).row_group(1).column(0).dictionary_page_offset
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")  # of the rows, before the footer
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    source = open_source(path)
    assert len(source) == 3 + 4 and source.image(2) == encoded(pixels(2), "JPEG")
    assert {reason(lambda i=i: source.image(i)) for i in range(3, 7)} == {"shard damaged"}


def test_a_status_of_another_meaning_leaves_nothing_out(tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    rows = [row | dict(status="ok") for row in img2dataset_rows(0, 8)]
    source = open_source(write(tmp_path / "a.parquet", rows, IMG2DATASET))
    assert len(source) == 8 and reason(lambda: source.image(3)) == "image missing"


def test_hugging_faces_pictures_and_the_names_of_their_classes_are_read(tmp_path):
    features = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    schema = HF.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    write(tmp_path / "train-00000-of-00001.parquet", hf_rows(5), schema, groups=2)
    source = open_source(tmp_path)
    assert source.image(4) == encoded(pixels(4)) and source.captions(4) == (b"text 4",)
    assert source.meta(3) == {"label": 1, "label_name": "dog"}
    assert source.key(3) == "train-00000-of-00001:3"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "image missing"),
        (dict(bytes=None, path="a.png"), "image missing"),
        (dict(bytes=None, path=None), "image missing"),
        (dict(bytes=bytes(2_000), path=None), "image too large"),
    ],
)
def test_a_row_without_a_usable_picture_is_rejected_and_its_neighbours_are_not(
    tmp_path, value, found
):
    rows = list(hf_rows(3))
    rows[1]["image"] = value
    write(tmp_path / "a.parquet", rows, HF)
    source = open_source(tmp_path / "a.parquet", limits=Limits(image_bytes=1_000))
    assert reason(lambda: source.image(1)) == found
    assert source.captions(1) == (b"text 1",) and source.image(2) == encoded(pixels(2))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (["one", "two"], (b"one", b"two")),
        (["", "two", None], (b"two",)),
        (None, "caption missing"),
        ([], "caption missing"),
        (["", " "], "caption empty"),
    ],
)
def test_a_list_of_captions_is_several_and_nothing_is_none(tmp_path, value, found):
    schema = pa.schema([("img", pa.binary()), ("captions", pa.list_(pa.string()))])
    write(tmp_path / "a.parquet", [dict(img=b"x", captions=value)], schema)
    source = open_source(tmp_path / "a.parquet")
    if isinstance(found, str):
        assert reason(lambda: source.captions(0)) == found
    else:
        assert source.captions(0) == found


def test_text_that_is_not_utf_8_is_handed_on_and_rejected_by_its_reader(tmp_path):
    from data_pipelines.text import clean_caption

    bad = pa.array([b"\xff\xfe"]).cast(pa.string(), safe=False)
    table = pa.table({"image": pa.array([b"x"]), "text": bad})
    pq.write_table(table, tmp_path / "a.parquet")
    caption = open_source(tmp_path / "a.parquet").captions(0)[0]
    assert reason(lambda: clean_caption(caption)) == "caption not utf-8"


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([("PNG", pa.large_binary()), ("Caption", pa.large_string())]),
        pa.schema([("Face", PICTURE), ("title", pa.dictionary(pa.int32(), pa.string()))]),
        pa.schema([("webp", pa.binary_view()), ("txt", pa.string_view())]),
    ],
)
def test_columns_go_by_their_names_and_by_what_they_hold(tmp_path, schema):
    value = dict(bytes=b"x", path="") if pa.types.is_struct(schema.field(0).type) else b"x"
    write(tmp_path / "a.parquet", [{schema.names[0]: value, schema.names[1]: "said"}], schema)
    source = open_source(tmp_path / "a.parquet")
    assert source.image(0) == b"x" and source.captions(0) == (b"said",)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('{"cls": 3, "text": "within"}', {"cls": 3, "text": "within", "number": 1}),
        ('{"number": 9, "json": "own"}', {"number": 1, "json": "own"}),
        ("[1, 2]", {"json": "[1, 2]", "number": 1}),
        ("no JSON", {"json": "no JSON", "number": 1}),
        (None, {"json": None, "number": 1}),
    ],
)
def test_an_object_in_the_column_json_is_further_fields_and_another_text_is_one(
    tmp_path, text, fields
):
    schema = pa.schema([("jpg", pa.binary()), ("json", pa.string()), ("number", pa.int64())])
    write(tmp_path / "a.parquet", [dict(jpg=b"x", json=text, number=1)], schema)
    assert open_source(tmp_path / "a.parquet").meta(0) == fields


def test_dates_and_decimals_are_fields_of_text_as_json_has_them(tmp_path):
    row = dict(
        jpg=b"x",
        taken=datetime.datetime(2024, 2, 3, 4, 5, 6),
        day=datetime.date(2024, 2, 3),
        prices=[decimal.Decimal("1.50"), None],
    )
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    found = open_source(tmp_path / "a.parquet").meta(0)
    assert found == dict(taken="2024-02-03 04:05:06", day="2024-02-03", prices=["1.50", None])
    assert json.loads(json.dumps(found)) == found


def test_sounds_are_in_a_column_of_their_own(tmp_path):
    rows = [dict(audio=dict(bytes=b"sound", path=""), text="said"), dict(audio=None, text="said")]
    write(tmp_path / "a.parquet", rows, pa.schema([("audio", PICTURE), ("text", pa.string())]))
    source = open_source(tmp_path)
    assert source.audio(0) == b"sound" and reason(lambda: source.audio(1)) == "audio missing"
    assert reason(lambda: source.image(0)) == "image missing"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (dict(url="https://a/b.jpg", caption="c"), "URLs are not fetched.*img2dataset"),
        (dict(one=b"a", two=b"b"), r"called image, jpg.*it has one \(bytes\), two \(bytes\)"),
        (dict(number=1), r"it has number \(other values\)"),
    ],
)
def test_a_table_without_pictures_is_refused_with_its_columns(tmp_path, columns, said):
    pq.write_table(pa.Table.from_pylist([columns]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=said):
        open_source(tmp_path / "a.parquet")


def test_parquet_that_img2dataset_writes_beside_tars_is_no_data(tmp_path):
    write_tar(tmp_path / "00000.tar", [("0.png", encoded(pixels(0))), ("0.txt", b"words")])
    schema = pa.schema([("url", pa.string()), ("caption", pa.string())])
    write(tmp_path / "00000.parquet", [dict(url="https://a", caption="words")], schema)
    assert isinstance(open_source(tmp_path), TarSource)
    write(tmp_path / "00000.parquet", hf_rows(1), HF)
    with pytest.raises(ValueError, match=r"holds 00000\.tar and .*00000\.parquet; say which"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    "files", [("data/train-00000-of-00001", "data/test-00000-of-00001"), ("train/0", "test/0")]
)
def test_a_folder_of_several_splits_is_refused_and_a_pattern_chooses_one(tmp_path, files):
    for file in files:
        path = tmp_path / f"{file}.parquet"
        path.parent.mkdir(exist_ok=True)
        write(path, hf_rows(2), HF)
    with pytest.raises(ValueError, match="splits test, train; name one") as refused:
        open_source(tmp_path)
    pattern = str(refused.value).split("'")[-2]
    assert "train" in pattern and len(open_source(pattern)) == 2


def test_a_damaged_file_is_left_out_and_counted_and_alone_it_is_refused(tmp_path, caplog):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.parquet", hf_rows(4), HF)
    whole = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[:-20])
    with caplog.at_level(logging.WARNING):
        source = open_source(tmp_path)
    assert len(source) == 4 and "1 of 2 parquet files cannot be read" in caplog.text
    (stray,) = source.survey()[0].strays
    assert (stray.count, stray.example) == (1, "b.parquet") and "write or download" in stray.reason
    with pytest.raises(ValueError, match=r"must be whole, of 1 none is: .*b\.parquet.*write or"):
        open_source(tmp_path / "b.parquet")


def test_a_damaged_group_costs_its_own_rows_only(tmp_path):
    path = write(tmp_path / "a.parquet", hf_rows(6), HF, groups=3)
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data[start : start + 200] = bytes(200)
    path.write_bytes(data)
    source = open_source(path)
    assert source.image(2) == encoded(pixels(2))
    assert reason(lambda: source.image(4)) == "shard damaged"


def test_a_file_that_changes_is_noticed_when_it_is_read(tmp_path):
    path = write(tmp_path / "a.parquet", hf_rows(6), HF, groups=3)
    source = open_source(path)
    write(path, hf_rows(2), HF)
    assert reason(lambda: source.image(1)) == "shard changed"


def test_a_file_that_goes_costs_its_own_rows(tmp_path):
    paths = [write(tmp_path / f"{name}.parquet", hf_rows(3), HF) for name in "ab"]
    source = ParquetSource(paths)
    paths[1].unlink()
    assert source.image(2) and reason(lambda: source.image(3)) == "shard gone"


def test_files_with_other_columns_are_refused_in_one_folder_and_joined_from_two(tmp_path):
    for name, schema in (("a", HF), ("b", pa.schema([("jpg", pa.binary())]))):
        (tmp_path / name).mkdir()
        row = next(iter(hf_rows(1))) if name == "a" else dict(jpg=b"x")
        write(tmp_path / name / f"{name}.parquet", [row], schema)
    source = open_source(f"{tmp_path}/a,{tmp_path}/b")
    assert source.image(0) == encoded(pixels(0)) and source.image(1) == b"x"
    (tmp_path / "a" / "a.parquet").rename(tmp_path / "b" / "a.parquet")
    with pytest.raises(ValueError, match=r"same columns, b\.parquet has jpg"):
        open_source(tmp_path / "b")


def test_memory_is_bounded_and_neighbours_cost_one_reading(tmp_path, monkeypatch):
    rows = [dict(image=dict(bytes=bytes(1_000), path=""), text="", label=0)] * 400
    source = ParquetSource([write(tmp_path / "a.parquet", rows, HF, groups=20)], cache_bytes=10**5)
    readings, load = [], source._load
    monkeypatch.setattr(source, "_load", lambda *key: readings.append(key) or load(*key))
    for index in range(400):
        source.image(index)
    assert len(readings) == 20 and source._read.total <= 10**5


@pytest.mark.parametrize("step", [1, 21])
def test_an_order_that_wastes_what_is_read_is_said_once(tmp_path, monkeypatch, caplog, step):
    monkeypatch.setattr("data_pipelines.sources.group_order._JUDGED_AT", 18)
    path = write(tmp_path / "a.parquet", list(hf_rows(20)) * 20, HF, groups=20)
    source = ParquetSource([path], cache_bytes=1)
    with caplog.at_level(logging.WARNING):
        for place in range(400):
            source.image(place * step % 400)
    assert caplog.text.count("row groups hold 20 rows, and each is read for one") == (step == 21)


def test_it_is_read_from_several_threads_and_in_other_processes(tmp_path):
    write(tmp_path / "a.parquet", hf_rows(40), HF, groups=7)
    source = ParquetSource([tmp_path / "a.parquet"], cache_bytes=1)
    order = np.random.default_rng(1).integers(0, 40, 200).tolist()
    expected = [encoded(pixels(index)) for index in range(40)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(source.image, order))
    assert found == [expected[index] for index in order]
    copy = pickle.loads(pickle.dumps(source))
    assert copy.image(7) == expected[7] and copy.fingerprint == source.fingerprint


def test_the_fingerprint_changes_with_the_content(tmp_path):
    path = write(tmp_path / "a.parquet", hf_rows(4), HF)
    before = open_source(path).fingerprint
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "a.parquet").write_bytes(path.read_bytes())
    assert open_source(tmp_path / "copy").fingerprint == before
    write(path, [row | dict(text="other") for row in hf_rows(4)], HF)
    assert open_source(path).fingerprint != before


def test_an_index_out_of_range_is_an_error_and_no_rows_are_refused(tmp_path):
    source = open_source(write(tmp_path / "a.parquet", hf_rows(2), HF))
    for read in (source.key, source.image, source.captions, source.meta, source.file):
        with pytest.raises(IndexError):
            read(2)
    with pytest.raises(ValueError, match="at least one row"):
        open_source(write(tmp_path / "none.parquet", [], HF))


def test_what_only_begins_and_ends_like_parquet_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" * 30)
    with pytest.raises(ValueError, match="must be whole"):
        open_source(tmp_path / "a.parquet")
