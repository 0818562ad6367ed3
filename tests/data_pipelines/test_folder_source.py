"""Folders of images, joined sources, and the specs that name sources."""

import json
import os
import sys
import types

import pytest
from data_makers import encoded, pair, pairs, pixels, write_tar

from data_pipelines.faults import Reject
from data_pipelines.opening import open_source
from data_pipelines.sources import ConcatSource, FolderSource, TarSource
from data_pipelines.text import clean_caption


def folder(tmp_path, table, name="captions.csv"):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(encoded(pixels(i)))
    content = table if isinstance(table, bytes) else table.encode()
    (tmp_path / name).write_bytes(content)
    return tmp_path


def test_several_rows_for_one_image_are_several_captions_in_order(tmp_path):
    table = 'file,caption\n1.png,"one, first"\n0.png,zero\n1.png,one again\n'
    source = FolderSource(folder(tmp_path, table))
    assert [source.key(i) for i in range(len(source))] == ["1.png", "0.png"]
    assert source[0].captions == source.captions(0) == ("one, first", "one again")
    assert source[0].image == source.image(0) == encoded(pixels(1))


@pytest.mark.parametrize("header", ["image,caption", "TEXT,filename", "id,path,title,x"])
def test_columns_go_by_their_usual_names(tmp_path, header):
    columns = header.lower().split(",")
    row = ["0.png" if c in ("image", "filename", "path") else f"a {c}" for c in columns]
    source = FolderSource(folder(tmp_path, f"{header}\n{','.join(row)}\n"))
    assert source.key(0) == "0.png"
    assert source.captions(0)[0].startswith("a ")


def test_json_lines_may_hold_one_caption_or_a_list(tmp_path):
    rows = [{"image": "0.png", "caption": "zero"}, {"image": "1.png", "caption": ["a", "b"]}]
    table = "\n".join(json.dumps(row) for row in rows)
    source = FolderSource(folder(tmp_path, table, "captions.jsonl"))
    assert [source[i].captions for i in (0, 1)] == [("zero",), ("a", "b")]


def test_bad_rows_are_samples_that_are_rejected(tmp_path):
    table = b"file,caption\nnone.png,words\n0.png, \n1.png,caf\xe9\n2.png,good\nsub,folder\n"
    source = FolderSource(folder(tmp_path, table))
    (tmp_path / "sub").mkdir()
    assert len(source) == 5
    for index, reason in [(0, "image missing"), (1, "caption empty"), (4, "image missing")]:
        with pytest.raises(Reject) as caught:
            source[index]
        assert caught.value.reason == reason
    with pytest.raises(Reject, match="caption not utf-8"):
        clean_caption(source[2].captions[0])
    assert source[3].captions == ("good",)


def test_a_pipe_in_place_of_an_image_does_not_wait(tmp_path):
    source = FolderSource(folder(tmp_path, "file,caption\npipe.png,words\n0.png,more\n"))
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(Reject, match="is not a file"):
        source[0]


@pytest.mark.parametrize("image", ["../x.png", "/etc/passwd", "a/../../x.png", "", "a\0b.png"])
def test_paths_stay_inside_the_folder(tmp_path, image):
    table = json.dumps({"image": image, "caption": "words"})
    with pytest.raises(ValueError, match=r"line 1: an image must be a path below the folder"):
        FolderSource(folder(tmp_path, table, "captions.jsonl"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "header: one column must be called image.*got $"),
        ("file,words\n0.png,a\n", "must be called caption, captions, text, title; got file, words"),
        ("file,caption\n", "must have at least one row"),
        ("file,caption\n0.png,a, b\n", "line 2: 2 columns are needed, separated by commas, got 3"),
        ("file,caption\n0.png," + "x" * (2**24 + 1), "line 2: field larger than field limit"),
    ],
)
def test_an_unreadable_table_is_refused_by_line(tmp_path, table, message):
    with pytest.raises(ValueError, match=message):
        FolderSource(folder(tmp_path, table))


@pytest.mark.parametrize("row", ['{"image": 3, "caption": "a"}', '"words"', "{", '{"image": "a"}'])
def test_an_unreadable_json_line_is_refused_by_number(tmp_path, row):
    good = '{"image": "0.png", "caption": "a"}\n\n'
    with pytest.raises(ValueError, match="line 3"):
        FolderSource(folder(tmp_path, good + row, "captions.jsonl"))


def test_a_folder_needs_exactly_one_table(tmp_path):
    with pytest.raises(ValueError, match="needs one of captions.csv, .* has none"):
        FolderSource(tmp_path)
    folder(tmp_path, "file,caption\n0.png,a\n")
    folder(tmp_path, '{"image": "0.png", "caption": "a"}', "captions.jsonl")
    with pytest.raises(ValueError, match="captions.csv and captions.jsonl; name one"):
        FolderSource(tmp_path)


def test_the_fingerprint_of_a_folder_follows_its_files(tmp_path):
    def fingerprint():
        return FolderSource(tmp_path).fingerprint

    folder(tmp_path, "file,caption\n0.png,a\n1.png,b\n")
    before = fingerprint()
    image = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(image[:-1] + b"x")
    assert fingerprint() != before
    (tmp_path / "1.png").write_bytes(image)
    assert fingerprint() == before


def test_joined_sources_count_through_and_keep_their_order(tmp_path):
    (tmp_path / "f").mkdir()
    tars = TarSource(write_tar(tmp_path / "a.tar", pairs(3)))
    pictures = FolderSource(folder(tmp_path / "f", "file,caption\n1.png,one\n2.png,two\n"))
    joined = ConcatSource([pictures, tars])
    assert [joined.key(i) for i in range(5)] == ["1.png", "2.png", "0000", "0001", "0002"]
    assert joined[4] == tars[2]
    assert joined.captions(1) == ("two",)
    assert joined.image(2) == tars.image(0)
    assert joined.fingerprint != ConcatSource([tars, pictures]).fingerprint
    with pytest.raises(ValueError, match="at least one source"):
        ConcatSource([])


def test_a_spec_may_be_a_pattern_a_range_a_folder_or_several(tmp_path):
    for i in range(3):
        write_tar(tmp_path / f"s-{i:02d}.tar", pair(f"k{i}", i))
    (tmp_path / "f").mkdir()
    folder(tmp_path / "f", "file,caption\n0.png,a\n")

    def keys(spec):
        source = open_source(spec)
        return [source.key(i) for i in range(len(source))]

    assert keys(tmp_path / "s-01.tar") == ["k1"]
    assert keys(f"{tmp_path}/*.tar") == ["k0", "k1", "k2"]
    assert keys(f"{tmp_path}/s-{{01..02}}.tar") == ["k1", "k2"]
    assert keys(tmp_path / "f") == ["0.png"]
    spec = f"{tmp_path}/s-02.tar, {tmp_path}/f,{tmp_path}/s-{{00..01}}.tar"
    assert keys(spec) == ["k2", "0.png", "k0", "k1"]


def test_a_path_with_a_comma_is_taken_as_it_stands(tmp_path):
    path = write_tar(tmp_path / "a,b.tar", pair("k", 0))
    assert open_source(path).key(0) == "k"


@pytest.mark.parametrize("spec", ["none.tar", "s-{00..03}.tar", "no*.tar"])
def test_a_spec_that_names_nothing_says_what_is_there(tmp_path, spec):
    for i in range(3):
        write_tar(tmp_path / f"s-{i:02d}.tar", pair("k", i))
    with pytest.raises(ValueError, match=r"no data at .*holds s-00.tar, s-01.tar, s-02.tar"):
        open_source(f"{tmp_path}/{spec}")


def test_empty_parts_of_a_spec_are_refused():
    with pytest.raises(ValueError, match="must not have empty parts"):
        open_source("")


def test_an_embedded_data_set_goes_by_its_name(tmp_path, monkeypatch):
    write_tar(tmp_path / "noto.tar", pair("1f600", 0))
    embedded = types.ModuleType("data_pipelines.emoji")
    embedded.materialize = lambda: tmp_path
    monkeypatch.setitem(sys.modules, "data_pipelines.emoji", embedded)
    source = open_source("emoji:noto")
    assert (source.name, source.key(0)) == ("emoji:noto", "1f600")
    with pytest.raises(ValueError, match="emoji:NAME must be one of noto; got 'nato'"):
        open_source("emoji:nato")
