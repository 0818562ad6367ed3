"""What a sample's members say: captions, JSON where it is asked for, classes, limits."""

import json
import math
import zlib

import pytest
from data_makers import encoded, pairs, pixels, write_tar

from data_pipelines.evaluation import eval_captions, sample_pixels
from data_pipelines.faults import Reject
from data_pipelines.limits import Limits
from data_pipelines.opening import open_source
from data_pipelines.sources import PictureSource, TarSource
from data_pipelines.sources.base import parse_metadata
from data_pipelines.sources.part import PartSource
from data_pipelines.text import clean_caption

PNG = encoded(pixels(0))
POEM = "Blue dress\nSize: M\r\n\nFree shipping"


def in_tar(tmp_path, *members, **settings):
    path = write_tar(tmp_path / "a.tar", [("k.png", PNG), *((f"k.{e}", d) for e, d in members)])
    return TarSource(path, **settings)


def in_folder(tmp_path, *members, **settings):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for ending, data in (("png", PNG), *members):
        (folder / f"k.{ending}").write_bytes(data)
    return PictureSource(folder, [path.name for path in folder.iterdir()], **settings)


both = pytest.mark.parametrize("made", [in_tar, in_folder])


def texts(source):
    return [clean_caption(caption) for caption in source.captions(0)]


@both
@pytest.mark.parametrize("ending", ["txt", "text", "caption", "TXT"])
def test_a_text_is_one_caption_whatever_its_lines(tmp_path, made, ending):
    source = made(tmp_path, (ending, POEM.encode()))
    assert texts(source) == ["Blue dress Size: M Free shipping"]
    assert eval_captions(source, captions="all")[0] == texts(source)


@both
def test_captions_are_several_one_a_line(tmp_path, made):
    assert texts(made(tmp_path, ("captions", POEM.encode()))) == [
        "Blue dress", "Size: M", "Free shipping"
    ]  # fmt: skip


@both
def test_a_text_comes_before_the_further_captions(tmp_path, made):
    source = made(tmp_path, ("captions", b"two\nthree"), ("txt", b"on\ne"))
    assert texts(source) == ["on e", "two", "three"]


@both
def test_by_line_a_text_holds_several(tmp_path, made):
    source = made(tmp_path, ("txt", POEM.encode()), by_line=True)
    assert texts(source) == ["Blue dress", "Size: M", "Free shipping"]


def test_the_prefix_in_front_of_a_spec_reads_texts_by_line(tmp_path):
    in_tar(tmp_path, ("txt", POEM.encode()))
    in_folder(tmp_path, ("txt", POEM.encode()))
    for spec in (f"{tmp_path}/a.tar", f"{tmp_path}/pictures", f"{tmp_path}/pictures/k.png"):
        one, several = open_source(spec), open_source(f"lines:{spec}")
        assert (len(one.captions(0)), len(several.captions(0))) == (1, 3)
        assert one.fingerprint != several.fingerprint  # other captions are other data
    (tmp_path / "pictures/captions.csv").write_text("image,caption\nk.png,a\n")
    with pytest.raises(ValueError, match="lines: is for captions in .txt files"):
        open_source(f"lines:{tmp_path}/pictures")


@both
@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[1]", b'"words"', b"3", b"[" * 90_000, b'{"a": ' + b"1" * 9000 + b"}",
        b'{"a": 1,}', b"\xff\xfe", b'{"exif": "' + b"x" * 2**20 + b'"}',
    ],
)  # fmt: skip
def test_json_costs_nothing_but_itself(tmp_path, made, text):
    source = made(tmp_path, ("txt", b"words"), ("json", text))
    sample = source[0]
    assert (sample.image, texts(source)) == (PNG, ["words"])
    with pytest.raises(Reject, match="metadata invalid"):
        _ = sample.meta


@both
def test_json_is_not_even_read_in_training(tmp_path, made, monkeypatch):
    source = made(tmp_path, ("txt", b"words"), ("json", b'{"a": 1}'), ("cls", b"3"))
    read, member = [], type(source)._member
    monkeypatch.setattr(
        type(source), "_member", lambda self, i, role: read.append(role) or member(self, i, role)
    )
    _ = source[0]
    assert set(read) == {"image", "text", "lines"}
    assert source.meta(0) == {"a": 1, "cls": 3} and {"json", "cls"} < set(read)


def test_numbers_that_are_none_become_none():
    line = json.dumps({"similarity": math.nan, "far": [math.inf, -math.inf], "caption": "a"})
    assert parse_metadata(line) == {"similarity": None, "far": [None, None], "caption": "a"}
    assert parse_metadata(b"\xef\xbb\xbf" + line.encode())["caption"] == "a"


@both
@pytest.mark.parametrize(
    ("text", "label"),
    [
        (b"0", 0), (b"7\n", 7), (b"-1", -1), (b"\xef\xbb\xbf12", 12), (b"9" * 30, "9" * 30),
        (b" tabby cat\r\n", "tabby cat"), (b"n01440764", "n01440764"), ("größe".encode(), "größe"),
    ],
)  # fmt: skip
def test_a_class_is_a_whole_number_or_text_as_written(tmp_path, made, text, label):
    assert made(tmp_path, ("cls", text)).meta(0) == {"cls": label}


@both
def test_a_class_stands_beside_json_and_outlives_a_broken_one(tmp_path, made):
    assert made(tmp_path, ("cls", b"1"), ("json", b'{"a": 2}')).meta(0) == {"cls": 1, "a": 2}
    broken = tmp_path / "broken"
    broken.mkdir()
    assert made(broken, ("cls", b"1"), ("json", b"[1]")).meta(0) == {"cls": 1}


@both
@pytest.mark.parametrize(
    ("cls", "said", "label"),
    [
        (b"1", None, 1), (b"1", "", 1), (b"1", 1, 1), (b"1", " 1 ", " 1 "), (b"", 2, 2),
        (b"0", False, None), (b"1", 2, None), (b"cat", "dog", None), (b"1", [1, 2], None),
        (b"1", {"id": 1}, None),
    ],
)  # fmt: skip
def test_json_completes_a_class_and_may_not_contradict_it(tmp_path, made, cls, said, label):
    text = json.dumps({"cls": said, "a": 2}).encode()
    source = made(tmp_path, ("cls", cls), ("json", text))
    if label is not None:
        assert source.meta(0) == {"cls": label, "a": 2}
    else:
        with pytest.raises(Reject, match="one class, got .* in .cls and .* in .json; remove one"):
            source.meta(0)


@both
@pytest.mark.parametrize("end", ["le", "be"])
def test_utf_16_without_its_mark_is_no_text_and_no_class(tmp_path, made, end):
    text = "cat".encode(f"utf-16-{end}")
    source = made(tmp_path, ("txt", text), ("captions", text), ("cls", text))
    for caption in source.captions(0):
        with pytest.raises(Reject, match=r"caption with NUL \(utf-16\?\)"):
            clean_caption(caption)
    with pytest.raises(Reject, match="metadata invalid: a class holds no NUL, as UTF-16 does"):
        source.meta(0)


@pytest.mark.parametrize(
    ("limits", "members", "reason"),
    [
        (dict(image_bytes=len(PNG) - 1), [("txt", b"x")], "image too large"),
        (dict(caption_bytes=4), [("txt", b"words")], "caption too long"),
        (dict(caption_bytes=4), [("captions", b"word\n" * 13)], "caption too long"),
    ],
)
@both
def test_limits_are_settings(tmp_path, made, limits, members, reason):
    source = made(tmp_path, *members, limits=Limits(**limits))
    with pytest.raises(Reject, match=reason):
        source[0]
    raised = {name: 16 * value + 16 for name, value in limits.items()}
    again = tmp_path / "again"
    again.mkdir()
    assert made(again, *members, limits=Limits(**raised))[0].image == PNG


def test_the_limit_of_pixels_goes_with_the_source_and_its_parts(tmp_path):
    in_tar(tmp_path, ("txt", b"words"))
    height, width = pixels(0).shape[:2]
    few = open_source(tmp_path / "a.tar", limits=Limits(pixels=height * width - 1))
    enough = open_source(tmp_path / "a.tar", limits=Limits(pixels=height * width))
    for source in (few, PartSource(few, 0, 1)):
        with pytest.raises(Reject, match=f"image too large: {width} x {height}"):
            sample_pixels(source, 0)
    assert sample_pixels(enough, 0).shape == (height, width, 4)


def test_limits_are_whole_numbers_above_zero():
    for value in (0, -1, 2.5, True, None):
        with pytest.raises(ValueError, match=f"at least 1, got pixels {value!r}"):
            Limits(pixels=value)


def test_the_order_of_a_tar_s_members_changes_no_sample(tmp_path):
    members = [*pairs(3), ("0000.cls", b"1"), ("0001.txt", b"first")]
    one = TarSource(write_tar(tmp_path / "a.tar", members))
    order = sorted(members, key=lambda member: zlib.crc32(member[0].encode()))
    other = TarSource(write_tar(tmp_path / "b.tar", order))
    places = {other.key(i): i for i in range(3)}
    for i in range(3):
        j = places[one.key(i)]
        assert one[i] == other[j] and one.meta(i) == other.meta(j)
