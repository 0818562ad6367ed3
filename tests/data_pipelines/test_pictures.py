"""Pictures as people have them: a folder, one file, the standard input, with anything beside."""

import errno
import io
import os
import sys
import types

import pytest
from data_makers import encoded, pixels, write_tar

from data_pipelines.faults import Reject
from data_pipelines.io import retries
from data_pipelines.opening import open_source
from data_pipelines.sources import PictureSource, Source
from data_pipelines.text import clean_caption

IMAGES = {f"{i}.png": encoded(pixels(i)) for i in range(4)}


def put(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def contents(source):
    return [(source.image(i), texts(source, i)) for i in range(len(source))]


def texts(source, index):
    try:
        return [clean_caption(text) for text in source.captions(index)]
    except Reject as fault:
        assert fault.reason == "caption missing"
        return []


def keys(source):
    return [source.key(i) for i in range(len(source))]


def give(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))


def test_the_same_pairs_come_of_every_layout(tmp_path):
    captions = {name: f"number {name[0]}" for name in IMAGES}
    beside = {name.replace("png", "txt"): text.encode() for name, text in captions.items()}
    rows = "".join(f"{name},{text}\n" for name, text in captions.items())
    layouts = {
        "tar": write_tar(tmp_path / "a.tar", [*IMAGES.items(), *beside.items()]),
        "files": put(tmp_path / "files", IMAGES | beside),
        "table": put(
            tmp_path / "table", IMAGES | {"captions.csv": b"image,caption\n" + rows.encode()}
        ),
        "tars": put(tmp_path / "tars", {"b/x.tar": (tmp_path / "a.tar").read_bytes()}),
    }
    found = {name: contents(open_source(path)) for name, path in layouts.items()}
    assert found["tar"] == [(image, [captions[name]]) for name, image in IMAGES.items()]
    assert all(pairs == found["tar"] for pairs in found.values())


def test_every_way_to_name_pictures_gives_them(tmp_path, monkeypatch):
    folder = put(tmp_path / "pictures", IMAGES | {"1.txt": b"one"})
    wanted = [(image, ["one"] if name == "1.png" else []) for name, image in IMAGES.items()]
    for spec in (folder, f"{folder}/*.png", f"{folder}/{{0..3}}.png", f"{folder}/*",
                 ",".join(f"{folder}/{name}" for name in IMAGES)):  # fmt: skip
        source = open_source(spec)
        assert isinstance(source, Source) and keys(source) == list(IMAGES)
        assert contents(source) == wanted
    one = open_source(folder / "1.png")
    assert (keys(one), one.name, contents(one)) == (["1.png"], "1.png", wanted[1:2])
    give(monkeypatch, "\n".join(f"{folder}/{name}" for name in IMAGES).encode() + b"\r\n\n")
    assert contents(open_source("-")) == wanted
    give(monkeypatch, IMAGES["2.png"])
    assert contents(open_source("-")) == wanted[2:3]


def test_the_standard_input_must_hold_something_that_is_there(monkeypatch, tmp_path):
    give(monkeypatch, b" \n")
    with pytest.raises(ValueError, match="standard input holds nothing"):
        open_source("-")
    give(monkeypatch, f"{tmp_path}/none.png\n".encode())
    with pytest.raises(ValueError, match="none.png"):
        open_source("-")


def test_a_folder_of_classes_gives_each_picture_its_class(tmp_path):
    files = {f"{c}/{deep}{n}": data for c in ("cat", "tabby dog") for deep in ("", "more/")
             for n, data in IMAGES.items()}  # fmt: skip
    source = open_source(put(tmp_path, files))
    assert keys(source) == sorted(files)
    for i in range(len(source)):
        assert source.meta(i) == {"cls": source.key(i).split("/")[0]}
    put(tmp_path, {"cat/0.cls": b"7", "cat/1.json": b'{"cls": "lion", "a": 1}'})
    source = open_source(tmp_path)
    found = {source.key(i): source.meta(i) for i in range(len(source))}
    assert found["cat/0.png"] == {"cls": 7} and found["cat/2.png"] == {"cls": "cat"}
    assert found["cat/1.png"] == {"cls": "lion", "a": 1}
    assert open_source(tmp_path / "cat").meta(0) == {"cls": 7}
    assert open_source(tmp_path / "cat/2.png").meta(0) == {}


def test_a_parent_of_splits_is_noticed(tmp_path, caplog):
    put(
        tmp_path,
        {f"{split}/{c}/0.png": IMAGES["0.png"] for split in ("Train", "val") for c in "ab"},
    )
    assert open_source(tmp_path).meta(0) == {"cls": "Train"}
    assert "holds splits (Train, val)" in caplog.text and f"{tmp_path}/Train, whose" in caplog.text
    caplog.clear()
    assert open_source(tmp_path / "Train").meta(0) == {"cls": "a"} and not caplog.text
    put(tmp_path, {"other/a/0.png": IMAGES["0.png"]})
    open_source(tmp_path)
    assert not caplog.text


@pytest.mark.parametrize("name", ["captions.json", "Metadata.JSON"])
def test_a_table_in_json_is_told_to_be_lines(tmp_path, name):
    put(tmp_path, {"0.png": IMAGES["0.png"], name: b"[]", "1.json": b"{}"})
    reasons = {stray.example: stray.reason for stray in open_source(tmp_path).survey()[0].strays}
    assert reasons == {
        name: "a table in JSON is a .jsonl, an object a line",
        "1.json": "no picture of this name",
    }


def test_folders_that_are_links_are_followed(tmp_path):
    put(tmp_path / "elsewhere", IMAGES)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/cat").symlink_to(tmp_path / "elsewhere")
    source = open_source(tmp_path / "set")
    assert (
        len(source) == 4 and source.meta(0) == {"cls": "cat"} and source.image(3) == IMAGES["3.png"]
    )


def test_names_with_dots_blanks_and_brackets_are_names(tmp_path):
    names = ["2023.05.02.png", "a b.png", "[1].png", "größe.PNG", "it's.png", "{0}.png", "a,b.png"]
    files = {name: IMAGES["0.png"] for name in names}
    files |= {name.rpartition(".")[0] + ".txt": name.encode() for name in names}
    folder = put(tmp_path / "my [old] pictures, all", files)
    source = open_source(folder)
    assert {source.key(i): texts(source, i) for i in range(len(source))} == {n: [n] for n in names}
    assert source.survey()[0].strays == ()
    for name in names:
        assert keys(open_source(folder / name)) == [name]
        assert keys(open_source(f"{folder}/{name},{folder}/a b.png"))[0] == name
    assert sorted(keys(open_source(f"{folder}/*b.png"))) == ["a b.png", "a,b.png"]


def test_two_texts_for_one_picture_are_refused(tmp_path):
    put(tmp_path, IMAGES | {"0.txt": b"a", "0.caption": b"b"})
    with pytest.raises(ValueError, match="both '0.caption' and '0.txt'; remove one"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "must hold pictures, sounds, tars or one of captions.csv, .*; it has no file"),
        ({"a.heic": b"x", "b.heic": b"x"}, "2 like a.heic .*convert it to JPEG"),
        (
            {"b/c.TAR": b"x", "b/c.TAR.gz": b"x"},
            "a tar is read once, .* holds b/c.TAR.gz and the same unpacked; say by a pattern",
        ),
        (
            {"train/metadata.csv": b"x"},
            "1 like train/metadata.csv .a table lies in the folder itself",
        ),
        ({"notes.txt": b"x"}, "1 like notes.txt .no picture of this name"),
        (
            {"a.png": b"x", "a.tar": b"x"},
            "tars or as pictures, .* holds a.tar and a.png; say which",
        ),
    ],
)
def test_a_folder_that_is_no_data_says_what_it_holds(tmp_path, files, said):
    with pytest.raises(ValueError, match=said):
        open_source(put(tmp_path, files))


def test_a_folder_nobody_may_read_is_refused_in_one_line(tmp_path, monkeypatch):
    put(tmp_path, {"a/0.png": b"x"})

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(ValueError, match=f"^{tmp_path} cannot be read: Permission denied$"):
        open_source(tmp_path)


def test_what_the_disk_does_not_give_is_read_again_and_never_missing(tmp_path, monkeypatch):
    put(tmp_path, {"cat/0.png": IMAGES["0.png"], "cat/0.txt": b"a cat", "cat/0.json": b"{}"})
    source, real, failing = open_source(tmp_path), os.pread, iter([True] * 4)

    def flaky(*how):
        if next(failing, False):
            raise OSError(errno.EIO, "Input/output error")
        return real(*how)

    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(os, "pread", flaky)
    assert source.image(0) == IMAGES["0.png"]
    for read in (source.image, source.captions, source.meta):
        failing = iter([True] * 5)
        with pytest.raises(Reject, match="0.*: Input/output error") as caught:
            read(0)
        assert caught.value.reason == "read failed" and not caught.value.is_missing
    failing = iter([])
    (tmp_path / "cat/0.png").unlink()
    (tmp_path / "cat/0.txt").unlink()
    (tmp_path / "cat/0.txt").mkdir()
    for read, reason in ((source.image, "image missing"), (source.captions, "caption missing")):
        with pytest.raises(Reject) as caught:
            read(0)
        assert caught.value.reason == reason


def test_the_fingerprint_follows_pictures_captions_and_names(tmp_path):
    def fingerprint(**change):
        put(tmp_path, IMAGES | {"0.txt": b"a cat", "1.json": b"{}"} | change.get("files", {}))
        return open_source(tmp_path).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    image = IMAGES["0.png"]
    changed = [
        fingerprint(files={"0.png": image[:-1] + b"x"}),
        fingerprint(files={"0.txt": b"a dog"}),
        fingerprint(files={"1.json": b"[]"}),
        fingerprint(files={"9.png": image}),
    ]
    assert len({first, *changed}) == 5


def test_a_picture_that_goes_away_is_a_missing_one(tmp_path):
    source = open_source(put(tmp_path, IMAGES | {"0.txt": b"a"}))
    (tmp_path / "0.png").unlink()
    (tmp_path / "0.txt").unlink()
    with pytest.raises(Reject, match="image missing"):
        source.image(0)
    with pytest.raises(Reject, match="caption missing"):
        source.captions(0)


def test_a_picture_is_not_given_twice(tmp_path):
    put(tmp_path, IMAGES | {"captions.csv": b"image,caption\n0.png,a\n"})
    with pytest.raises(ValueError, match="is named beside a table of its folder"):
        open_source(f"{tmp_path}/*")


def test_an_empty_list_of_pictures_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold pictures"):
        PictureSource(tmp_path, [])
