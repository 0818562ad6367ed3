"""Tables as people write them are read as they meant them, or refused by line."""

import codecs
import csv
import io
import json
import os
import unicodedata

import pytest
from data_makers import encoded, pixels

from data_pipelines.faults import Reject
from data_pipelines.opening import open_source
from data_pipelines.sources import FolderSource
from data_pipelines.sources.table import NAMES

PNG = encoded(pixels(0))
ROWS = [
    ("000.png", "a red square, large"),
    ("001.png", 'the "old" mill; 12" high'),
    ("002.png", "two\nlines\ttabbed"),
    ("003.png", "größer 猫 😀"),
    ("004.png", "plain"),
]


@pytest.fixture
def folder(tmp_path):
    for name, _ in ROWS:
        (tmp_path / name).write_bytes(PNG)
    return tmp_path


def read(folder, **settings):
    source = FolderSource(folder, **settings)
    return [(source.key(i), "|".join(source.captions(i))) for i in range(len(source))]


def written(rows, header=("image", "caption"), **dialect):
    file = io.StringIO()
    csv.writer(file, **dialect).writerows([header, *rows])
    return file.getvalue()


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_the_same_rows_come_of_every_way_to_write_them(
    folder, separator, encoding, ending, quoting
):
    text = written(ROWS, delimiter=separator, lineterminator=ending, quoting=quoting)
    marks = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
    (folder / "captions.csv").write_bytes(marks.get(encoding, b"") + text.encode(encoding))
    assert read(folder) == ROWS


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_a_table_is_found(folder, name):
    lines = (json.dumps({"file_name": a, "text": b}) for a, b in ROWS)
    tabs = written(ROWS, ("File_Name", " Text "), delimiter="\t" if name.endswith("tsv") else ",")
    (folder / name).write_text("\n".join(lines) if name.endswith("jsonl") else tabs)
    assert read(folder) == ROWS
    (folder / name).rename(folder / "own.csv").rename(folder / f"own{(folder / name).suffix}")
    source = open_source(folder / f"own{(folder / name).suffix}")
    assert [source.key(i) for i in range(len(source))] == [name for name, _ in ROWS]


def test_a_table_s_name_may_have_capitals_and_its_end_blank_rows(folder):
    (folder / "Captions.CSV").write_text(written([*ROWS, ("", ""), (" ", "")]) + "\n\n")
    assert read(folder) == ROWS and len(open_source(folder)) == len(ROWS)


def test_two_tables_are_refused_and_either_may_be_named(folder):
    for name in ("captions.csv", "metadata.csv"):
        (folder / name).write_text(written(ROWS[:2]))
    with pytest.raises(
        ValueError, match="has captions.csv and metadata.csv; name one: .*captions.csv"
    ):
        open_source(folder)
    assert len(open_source(folder / "metadata.csv")) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_json_lines_may_be_wide_marked_null_and_of_any_case(folder, encoding):
    rows = [
        {"Image": "000.png", "Captions": ["a", "b"], "similarity": float("nan")},
        {"image": "001.png", "caption": None},
    ]
    text = "\r\n".join(json.dumps(row) for row in rows)
    (folder / "captions.jsonl").write_bytes(
        ("\ufeff" * (encoding == "utf-8") + text).encode(encoding)
    )
    source = FolderSource(folder)
    assert source.captions(0) == ("a", "b") and source.meta(0) == {"similarity": None}
    with pytest.raises(Reject, match="caption missing"):
        source.captions(1)
    assert source.survey()[0].without_caption == 1


def test_other_columns_are_metadata(folder):
    rows = [("000.png", "a", "3", ""), ("001.png", "b", "0", "x"), ("000.png", "c", "4", "")]
    (folder / "captions.csv").write_text(written(rows, ("image", "caption", "Label", "note")))
    source = FolderSource(folder)
    assert source.captions(0) == ("a", "c")
    assert source.meta(0) == {"label": ["3", "4"], "note": ""}
    assert source.meta(1) == {"label": "0", "note": "x"}


@pytest.mark.parametrize(
    ("values", "label"),
    [
        (["red", "brown", "red"], ["red", "brown"]), (["red", "red"], "red"), (["", "red"], "red"),
        ([0, None], 0), ([None, 0], 0), ([["a", "b"], "c", ["b", "d"]], ["a", "b", "c", "d"]),
        ([{"x": 1}, {"x": 1}], {"x": 1}), ([None, None], None),
    ],
)  # fmt: skip
def test_what_several_rows_say_of_one_picture_is_all_kept(folder, values, label):
    rows = [{"image": "000.png", "caption": "a", "label": value} for value in values]
    rows.insert(1, {"image": "000.png", "caption": "b", "late": 1})
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert FolderSource(folder).meta(0) == {"label": label, "late": 1}


def test_spaces_behind_a_separator_are_no_part_of_what_follows(folder):
    text = 'image, "caption", label\n000.png, "a ""red"" square, large", "red"\n001.png, b , x\n'
    (folder / "captions.csv").write_text(text)
    assert read(folder) == [("000.png", 'a "red" square, large'), ("001.png", "b ")]
    assert FolderSource(folder).meta(0) == {"label": "red"}


def test_metadata_need_no_captions_and_captions_do(folder):
    table = written([(name, 3) for name, _ in ROWS], ("file_name", "label"))
    (folder / "metadata.csv").write_text(table)
    source = FolderSource(folder)
    assert source.meta(0) == {"label": "3"} and source.survey()[0].without_caption == len(ROWS)
    (folder / "metadata.csv").rename(folder / "captions.csv")
    with pytest.raises(ValueError, match="must be called caption, .*; got file_name, label"):
        FolderSource(folder)


@pytest.mark.parametrize(
    "path", ["./000.png", " 000.png ", "sub\\000.png", "sub/./000.png", "ABSOLUTE/000.png"]
)
def test_paths_as_people_write_them(folder, path):
    (folder / "sub").mkdir()
    (folder / "sub/000.png").write_bytes(PNG)
    path = path.replace("ABSOLUTE", str(folder))
    (folder / "captions.csv").write_text(written([(path, "a")]))
    source = FolderSource(folder)
    assert source.key(0) in ("000.png", "sub/000.png") and source.image(0) == PNG


@pytest.mark.parametrize("columns", ["image,caption", "caption,image", "id,caption,image,x"])
def test_no_lost_quote_swallows_a_picture_unseen(tmp_path, columns):
    """Of a table with quoted and plain captions each quote is left out in turn."""
    header = columns.split(",")
    texts = ["a cat, small", "plain", 'a 12" pizza', "two\nlines", "a dog, old", "the last, too"]
    rows = []
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.png").write_bytes(PNG)
        cells = {"image": f"{i}.png", "caption": text, "id": str(i), "x": 'seen by "me"'}
        rows.append([cells[name] for name in header])
    whole = written(rows, header, lineterminator="\n")
    # As hands and naive programs write inches, in a plain caption: legal, and closes an open quote.
    whole = whole.replace(",plain", ',plain 12"').replace("plain,", 'plain 12",')
    table = tmp_path / "captions.csv"
    table.write_text(whole)
    everything = {f"{i}.png" for i in range(len(texts))}
    assert {key for key, _ in read(tmp_path)} == everything
    for place, letter in enumerate(whole):
        if letter == '"':
            table.write_text(whole[:place] + whole[place + 1 :])
            try:
                found = {key for key, _ in read(tmp_path)}
            except ValueError as error:
                assert "captions.csv, line " in str(error)
            else:
                assert found == everything, whole[:place][-30:]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('image,caption\n000.png,"open\n001.png,b\n', "line 2: .*close the double quotes"),
        ('image,caption\n004.png,x\n000.png,"a\n001.png,b 12"\n', "line 3: a double quote opens"),
        ('image,caption\n000.png,"a" b\n', "line 2: .*write those within a caption twice"),
        ("000.png,a cat\n", "must be called image, .*; got 000.png, a cat"),
        ("image|caption\n000.png|a\n", "must be called image, .*got image.caption"),
        ("image;caption\n000.png;a;b\n", "line 2: 2 columns are needed, separated by semicolons"),
        ("image caption\n", "got image caption .separate columns by commas, tabs or semicolons"),
        ("bild,text\n", "one column must be called image, file, .*; got bild, text"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_line(folder, text, said):
    (folder / "captions.csv").write_text(text)
    with pytest.raises(ValueError, match=said):
        FolderSource(folder)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_very_long_cell_costs_no_more_than_its_sample(folder, column):
    rows = [["000.png", "a", "x"], ["001.png", "b", "y"], ["002.png", "c", "z"]]
    rows[1][column] += "," * 200_000
    (folder / "captions.csv").write_text(written(rows, ("image", "caption", "note")))
    source = FolderSource(folder)
    assert [source[i].captions for i in (0, 2)] == [("a",), ("c",)]
    assert sum(map(len, (source.key(1), *source.captions(1), source.meta(1)["note"]))) > 200_000


def test_a_url_is_refused_as_what_it_is(folder):
    (folder / "captions.csv").write_text(written([*ROWS[:1], ("http://host/a.jpg", "a")]))
    with pytest.raises(
        ValueError, match="line 3: .* URLs are not fetched, got 'http://host/a.jpg'"
    ):
        FolderSource(folder)


@pytest.mark.parametrize(
    "header", ["image,caption,Caption", "x,image,x,caption", "image,text,image"]
)
def test_columns_of_one_name_are_refused(folder, header):
    (folder / "captions.csv").write_text(f"{header}\n" + ",".join(header.split(",")) + "\n")
    with pytest.raises(ValueError, match="header: a column has a name of its own, .* 2 times"):
        FolderSource(folder)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_a_picture_is_found_in_either_spelling_of_unicode(folder, forms):
    named, there = (unicodedata.normalize(form, "café ü.png") for form in forms)
    (folder / there).write_bytes(PNG)
    (folder / "captions.csv").write_text(written([(named, "a"), ("é.png", "b")]))
    source = FolderSource(folder)
    assert source.key(0) == there and source.image(0) == PNG and source.key(1) == "é.png"
    assert source.survey()[0].without_image == 1


def test_wide_text_without_its_mark_is_refused_with_the_remedy(folder):
    (folder / "captions.csv").write_bytes(written(ROWS).encode("utf-16-le"))
    with pytest.raises(ValueError, match="holds NUL bytes, as UTF-16 does; write it as UTF-8"):
        FolderSource(folder)


def test_a_remote_picture_or_one_beyond_the_folder_is_refused(folder):
    for path in ("../x.png", "/etc/passwd", "C:\\..\\x.png"):
        (folder / "captions.csv").write_text(written([("000.png", "a"), (path, "b")]))
        with pytest.raises(ValueError, match="line 3: an image must be a path below the folder"):
            FolderSource(folder)


def test_the_fingerprint_is_taken_once(folder, monkeypatch):
    (folder / "captions.csv").write_text(written(ROWS))
    source = FolderSource(folder)
    first = source.fingerprint
    for name, _ in ROWS:
        (folder / name).unlink()
        os.mkfifo(folder / name)
    assert FolderSource.fingerprint.func(source) != first  # and no pipe is waited for
    assert source.fingerprint == first
