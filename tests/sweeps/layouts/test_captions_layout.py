"""Captions in a file beside pictures: Karpathy's splits, COCO's format, Flickr's, XTD's."""

import json

import pytest

from tests.sweeps.layouts.made import opened, opens, png, put

PICTURES = {f"val2014/{i}.png": png(i) for i in range(3)}


def karpathy(name, split, *captions, folder="val2014"):
    sentences = [{"raw": caption} for caption in captions]
    own = {"filename": name, "split": split, "sentences": sentences}
    return own | ({"filepath": folder} if folder else {})


def test_karpathys_coco_gives_the_split_with_all_captions(tmp_path):
    images = [
        karpathy("2.png", "test", "two", "zwei"),
        karpathy("0.png", "restval", "zero"),
        karpathy("1.png", "test", "one"),
    ]
    put(tmp_path / "birds", PICTURES | {"dataset_coco.json": {"images": images}})
    found = opened(tmp_path, layout="captions")
    assert found.texts == ["two", "zwei", "one"] and found.picture_of_text.tolist() == [0, 0, 1]
    assert [found.pictures.key(i) for i in range(2)] == ["val2014/2.png", "val2014/1.png"]
    assert opens(tmp_path, split="train").texts == ["zero"]
    assert opens(tmp_path, captions="first").texts == ["two", "one"]


def test_flickr_lies_in_folders_of_usual_names(tmp_path):
    images = [karpathy("a.png", "test", "a bird", folder="")]
    files = {"flickr30k-images/a.png": png(0), "dataset_flickr30k.json": {"images": images}}
    put(tmp_path / "birds", files)
    assert opened(tmp_path, layout="captions").texts == ["a bird"]


def test_cocos_own_format_is_in_the_order_of_ids(tmp_path):
    table = {
        "images": [{"id": 9, "file_name": "1.png"}, {"id": 4, "file_name": "0.png"}],
        "annotations": [
            {"image_id": 9, "caption": "nine"},
            {"image_id": 4, "caption": "four"},
            {"image_id": 9, "caption": "neuf"},
        ],
    }
    put(tmp_path / "birds", PICTURES | {"coco_test_karpathy.json": table})
    found = opened(tmp_path, layout="captions")
    assert found.texts == ["four", "nine", "neuf"]
    assert found.pictures.image(0) == PICTURES["val2014/0.png"]


def test_flickrs_lines_have_commas_in_captions(tmp_path):
    text = "image,caption\nx.jpg,a dog, running\nx.jpg,a hound\n\ny.jpg,a cat\n"
    files = {"flickr30k_test_karpathy.txt": text, "x.jpg": png(0), "y.jpg": png(1)}
    put(tmp_path / "birds", files)
    found = opened(tmp_path, layout="captions")
    assert found.texts == ["a dog, running", "a hound", "a cat"]
    assert found.picture_of_text.tolist() == [0, 0, 1]


def test_languages_are_files_of_their_own_or_fields(tmp_path):
    listed = {"image_paths": ["/other/machine/images/a.png"], "annotations": ["ein Vogel"]}
    put(tmp_path / "birds", {"xtd10/images/a.png": png(0), "xtd10-de.json": listed})
    assert opened(tmp_path, layout="captions", language="de").texts == ["ein Vogel"]
    row = {"image/key": "b", "fr": {"caption": ["un oiseau", "un chat"]}, "image/locale": "fr"}
    files = {"captions.jsonl": json.dumps(row) + "\n", "images/b.jpg": png(1)}
    put(tmp_path / "xm", files)
    found = opened(tmp_path, layout="captions", data="xm", language="fr", captions="first")
    assert found.texts == ["un oiseau"]
    with pytest.raises(ValueError, match="has captions in fr, got language 'de'"):
        opens(tmp_path, data="xm", language="de")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"images": [karpathy("9.png", "test", "x")]}, "names 'val2014/9.png', which must lie in"),
        ({"images": [karpathy("../up.png", "test", "x", folder="")]}, "by paths below its folder"),
        (
            {"images": [karpathy("1.png", "train", "x")]},
            "captions of the split 'test', it has none",
        ),
        ({"images": [{"filename": "1.png", "split": "test"}]}, "fields of its format.*sentences"),
        ({"pictures": []}, "must be an object with a list 'images'"),
        ("{", "must be JSON"),
    ],
)
def test_what_is_half_there_is_refused(tmp_path, table, message):
    put(tmp_path / "birds", PICTURES | {"dataset_coco.json": table})
    with pytest.raises(ValueError, match=message):
        opens(tmp_path)
