"""What belongs to no sample is counted with its reason; nothing is left out in silence."""

import io
import json
import os
import random
import tarfile

import pytest
from data_makers import encoded, pair, pairs, pixels, write_tar

from data_pipelines.opening import open_source
from data_pipelines.sources import (
    ConcatSource,
    FolderSource,
    LabelSource,
    ShuffledCaptions,
    TarSource,
    build_indexes,
)
from data_pipelines.sources.members import ROLES
from data_pipelines.sources.part import PartSource
from data_pipelines.sources.survey import Strays

PNG = encoded(pixels(0))


def strays(source):
    """Reason to count and example, of a source of one place."""
    (found,) = source.survey()
    return {stray.reason: (stray.count, stray.example) for stray in found.strays}


def reason_of(source, example):
    return next(reason for reason, (_, name) in strays(source).items() if name == example)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("photo_002.v2.jpg", "no dots in KEY"),
        ("2023.05.02.JPG", "no dots in KEY"),
        ("a/b.c/0.left.txt", "no dots in KEY"),
        ("0.heic", ".heic is not read; convert it to JPEG"),
        ("0.npy", ".npy is not read"),
        ("0.json.gz", ".gz is not read; unpack it"),
        ("a/._0.jpg", "hidden"),
        (".DS_Store", "hidden"),
        ("README", "no extension"),
        ("/abs.jpg", "leaves the tar"),
        ("a/../../up.jpg", "leaves the tar"),
    ],
)
def test_a_file_of_no_sample_is_counted_with_its_reason(tmp_path, name, remedy):
    path = write_tar(tmp_path / "a.tar", [*pairs(2), (name, PNG)])
    source = TarSource(path)
    assert len(source) == 2 and remedy in reason_of(source, name)


def test_links_in_a_tar_are_counted_for_their_data_lie_elsewhere(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in pair("good", 1):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, kind in (("same.jpg", tarfile.LNKTYPE), ("soft.jpg", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "good.png"
            tar.addfile(info)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)  # holds no data: nothing is lost with it
    ((reason, found),) = strays(TarSource(tmp_path / "a.tar")).items()
    assert found == (2, "same.jpg") and "--hard-dereference" in reason


def test_every_file_is_in_a_sample_or_counted(tmp_path):
    """Of tars of random names, against what tarfile sees in them."""
    rng = random.Random(0)
    endings = [
        "jpg",
        "PNG",
        "txt",
        "json",
        "cls",
        "captions",
        "npy",
        "v2.jpg",
        "",
        "seg.png",
        "x" * 40,
    ]
    for number in range(20):
        names = {
            "".join(rng.choice(("a/", "", "..", ".", "k", "0", "é", "-")) for _ in range(4))
            + rng.choice("abcdef")
            + "."
            + rng.choice(endings)
            for _ in range(30)
        }
        members = [(name, PNG) for name in sorted(names)] + pair("sure", 0)
        path = tmp_path / f"{number}.tar"
        source = TarSource(write_tar(path, members))
        with tarfile.open(path) as tar:
            files = sum(member.isfile() for member in tar)
        held = [source._parts(index).members for index in range(len(source))]
        strays = source.survey()[0].strays
        assert sum(map(len, held)) + sum(stray.count for stray in strays) == files
        lacking = sum("image" not in members for members in held)
        assert source.survey()[0].without_image == lacking


def test_many_extensions_do_not_make_many_reasons():
    found = Strays()
    for number in range(1000):
        found.add(f".{number} is not read", f"img.{number}")
    assert len(found) == 1000 and len(found.by_count()) <= 13
    assert found.by_count()[0].count > 900


def test_names_are_safe_to_print(tmp_path):
    source = TarSource(write_tar(tmp_path / "a.tar", [*pairs(1), ("\x1b[2J\n" + "x.jpg.npy", b"")]))
    ((_, (_, example)),) = strays(source).items()
    assert example.isprintable() and "x.jpg.npy" in example
    found = source.survey()[0].to_dict()
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(found, ensure_ascii=False))


def test_what_samples_lack_is_counted_with_an_example(tmp_path):
    members = [
        *pairs(3),
        ("3.txt", b"x"),
        ("4.jpg", PNG),
        ("5.caption", b"x"),
        ("6.captions", b"x"),
    ]
    (found,) = TarSource(write_tar(tmp_path / "a.tar", members)).survey()
    assert (found.samples, found.without_image, found.image_example) == (7, 3, "3")
    assert (found.without_caption, found.caption_example) == (1, "4")


def test_the_index_tells_the_same_survey(tmp_path):
    members = [*pairs(2), ("a.b.jpg", PNG), ("b.npy", b""), ("only.txt", b"x")]
    path = write_tar(tmp_path / "a.tar", members)
    before = TarSource(path).survey()
    build_indexes([path])
    assert TarSource(path).survey() == before and len(before[0].strays) == 2


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (
            [(f"2023.05.{i:02d}.jpg", PNG) for i in range(9)],
            "9 like 2023.05.00.jpg .no dots in KEY",
        ),
        ([("a.heic", b"x"), ("b.heic", b"x")], "2 like a.heic .*convert it to JPEG"),
        ([], "a tar that holds nothing"),
    ],
)
def test_a_tar_of_nothing_but_strays_says_why(tmp_path, members, said):
    with pytest.raises(ValueError, match=f"at least one sample .*{said}"):
        TarSource(write_tar(tmp_path / "a.tar", members))


def test_several_tars_are_surveyed_together_and_examples_name_theirs(tmp_path):
    for name in "ab":
        write_tar(
            tmp_path / f"{name}.tar", [*pairs(2), (f"{name}.x.jpg", PNG), (f"{name}.txt", b"x")]
        )
    (found,) = open_source(f"{tmp_path}/*.tar").survey()
    assert (found.samples, found.without_image, found.image_example) == (6, 2, "a.tar: a")
    assert [(stray.count, stray.example) for stray in found.strays] == [(2, "a.tar: a.x.jpg")]


def test_sources_made_of_others_tell_theirs(tmp_path):
    source = TarSource(write_tar(tmp_path / "a.tar", [*pairs(4), ("a.x.jpg", PNG)]))
    (found,) = source.survey()
    assert ShuffledCaptions(source, share=1.0).survey() == (found,)
    assert ConcatSource([source, source]).survey() == (found, found)
    assert PartSource(source, 1, 3).survey()[0].samples == 2
    labels = LabelSource(source, field="", templates=("{}",)).survey()[0]
    assert labels.strays == found.strays and labels.without_caption is None


def table(tmp_path, rows, name="captions.csv"):
    (tmp_path / name).write_text("image,caption\n" + "".join(f"{a},{b}\n" for a, b in rows))
    for place in ("images", "more"):
        (tmp_path / place).mkdir(exist_ok=True)
    for i in range(4):
        (tmp_path / f"images/{i:03d}.jpg").write_bytes(PNG)
    return tmp_path


def test_rows_without_a_picture_are_counted_before_anything_is_read(tmp_path):
    rows = [("images/000.jpg", "a"), ("imgs/001.jpg", "b"), ("images/002.png", "c"), ("x.jpg", " ")]
    (found,) = FolderSource(table(tmp_path, rows)).survey()
    assert (found.samples, found.without_image, found.without_caption) == (4, 3, 1)
    assert found.image_example == "imgs/001.jpg (the folder has images/001.jpg)"
    assert found.caption_example == "x.jpg"
    ((stray),) = found.strays
    assert (stray.count, stray.reason) == (3, "no row of captions.csv names it")


@pytest.mark.parametrize(
    ("row", "guess"),
    [
        ("imgs/000.jpg", "images/000.jpg"),
        ("images/000.JPG", "images/000.jpg"),
        ("000", "images/000.jpg"),
        ("000.png", "images/000.jpg"),
        ("nothing.png", None),
    ],
)
def test_a_table_of_which_no_picture_exists_is_refused_with_a_guess(tmp_path, row, guess):
    said = f"none of 1 is there, such as {row}" + (f" .the folder has {guess}" if guess else "$")
    with pytest.raises(ValueError, match=said):
        FolderSource(table(tmp_path, [(row, "a")]))


def test_a_folder_of_pictures_counts_what_is_none(tmp_path):
    for name in ("a.jpg", "a.txt", "b.heic", "lonely.txt", ".hidden.jpg", "my.csv", "c.d.jpg"):
        (tmp_path / name).write_bytes(PNG)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "broken.jpg").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    source = open_source(tmp_path)
    assert [source.key(i) for i in range(len(source))] == ["a.jpg", "c.d.jpg"]
    examples = {example: reason for reason, (_, example) in strays(source).items()}
    assert examples.keys() == {
        "b.heic",
        "lonely.txt",
        ".hidden.jpg",
        "my.csv",
        "broken.jpg",
        "loop/",
    }
    assert "captions.csv" in examples["my.csv"] and "no picture" in examples["lonely.txt"]
    assert source.survey()[0].without_caption == 1


def test_every_known_ending_has_a_role_in_either_case(tmp_path):
    for ending in ROLES:
        for name in (f"k.{ending}", f"k.{ending.upper()}"):
            source = TarSource(write_tar(tmp_path / "a.tar", [(name, b"1"), ("z.jpg", PNG)]))
            assert len(source) == 2 and strays(source) == {}
