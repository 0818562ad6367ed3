"""Sets in the layout of CLIP_benchmark and DataComp: what they say, and what is half there."""

import numpy as np
import pytest

from tests.sweeps.layouts.made import npy, opened, opens, png, put, write_tar


def shards(root, samples, *, per=2, split="test"):
    """Tars of some samples each, whose keys begin anew in each: what stands beside pictures."""
    parts = [samples[i : i + per] for i in range(0, len(samples), per)]
    for number, part in enumerate(parts):
        members = {}
        for row, beside in enumerate(part):
            members[f"s{row:07d}.png"] = png(100 * number + row)
            members |= {f"s{row:07d}.{suffix}": data for suffix, data in beside.items()}
        write_tar(root / split / f"{number}.tar", members)
    put(root, {f"{split}/nshards.txt": f"{len(parts)}\n"})
    return root


def classified(root, labels, *, classes="cat\ndog\n\n", templates="a {c}\nthe {c}\n"):
    shards(root, [{"cls": str(label).encode()} for label in labels])
    files = {"classnames.txt": classes, "zeroshot_classification_templates.txt": templates}
    return put(root, files)


def test_labels_stand_beside_their_own_pictures_whatever_keys_other_tars_have(tmp_path):
    classified(tmp_path / "birds", [0, 1, 2, 1, 0])
    found = opened(tmp_path, layout="clip_benchmark")
    assert found.labels.tolist() == [0, 1, 2, 1, 0]
    assert list(found.class_names) == ["cat", "dog", ""]  # empty lines are classes
    assert list(found.templates) == ["a {c}", "the {c}"]


@pytest.mark.parametrize("folder", ["wds_vtab-birds_test", "wds_vtab-birds", "vtab-birds"])
def test_a_set_is_found_under_the_names_of_other_programs(tmp_path, folder):
    classified(tmp_path / folder, [0, 1])
    assert len(opened(tmp_path, layout="clip_benchmark", published="vtab/birds")) == 2


def test_a_root_may_be_the_template_of_clip_benchmark(tmp_path):
    classified(tmp_path / "of_vtab-birds", [0, 1])
    root = f"{tmp_path}/of_{{dataset_cleaned}}"
    assert len(opens(root, published="vtab/birds")) == 2


def test_captions_are_cut_as_python_cuts_lines(tmp_path):
    texts = ["one\ntwo\u2028three", "a\n\nb\n", "no newline\\n here"]
    shards(tmp_path / "birds", [{"txt": text.encode()} for text in texts])
    put(tmp_path / "birds", {"dataset_type.txt": "retrieval\n"})
    found = opened(tmp_path, layout="clip_benchmark")
    assert found.texts == ["one", "two", "three", "a", "", "b", "no newline\\n here"]
    assert found.picture_of_text.tolist() == [0, 0, 0, 1, 1, 1, 2]
    first = opens(tmp_path, captions="2")
    assert first.texts == ["one", "two", "a", "", "no newline\\n here"]


def test_several_labels_are_an_array_a_picture(tmp_path):
    rows = [[0, 1, 0], [1, 1, 0]]
    shards(tmp_path / "birds", [{"npy": npy(row)} for row in rows])
    put(tmp_path / "birds", {"dataset_type.txt": "multilabel", "classnames.txt": "a\nb\nc\n"})
    found = opened(tmp_path, layout="clip_benchmark")
    assert found.labels.dtype == bool and found.labels.tolist() == [[0, 1, 0], [1, 1, 0]]


def test_columns_of_arrays_beside_labels_are_groups_by_their_names(tmp_path):
    samples = [{"cls": b"0", "npy": npy([i % 2, 7])} for i in range(3)]
    shards(tmp_path / "birds", samples)
    put(tmp_path / "birds", {"classnames.txt": "a\nb\n"})
    assert opens(tmp_path, columns=["region", "year"]).groups == {
        "region": ["0", "1", "0"],
        "year": ["7", "7", "7"],
    }
    assert list(opens(tmp_path).groups) == ["0", "1"]
    with pytest.raises(ValueError, match="must hold 1 values in each KEY.npy, region, got 2"):
        opens(tmp_path, columns=["region"])


def test_faces_have_columns_and_no_labels(tmp_path):
    shards(tmp_path / "birds", [{"npy": npy([1, 0])}] * 2)
    classes = "age:old\nage:young\ngender:male\ngender:female\n"
    templates = "age:an {c} face\ngender:a {c} face\n"
    files = {"classnames.txt": classes, "zeroshot_classification_templates.txt": templates}
    put(tmp_path / "birds", files)
    found = opens(tmp_path, columns=["age", "gender"])
    assert found.labels is None and found.groups["gender"] == ["0", "0"]
    assert found.class_names[0] == "age:old"


def test_names_and_templates_of_vlp_are_for_sets_that_have_none(tmp_path):
    shards(tmp_path / "birds", [{"cls": b"3"}, {"cls": b"9"}])
    found = opens(tmp_path, default_classes="eurosat", default_templates="eurosat")
    assert found.class_names[1] == "forest" and len(found.templates) == 3
    classified(tmp_path / "own", [0, 1])
    found = opens(tmp_path, data="own", default_classes="eurosat", default_templates="eurosat")
    assert found.class_names[0] == "cat" and found.templates[0] == "a {c}"
    found = opens(tmp_path, data="own", classes="mnist", templates="photo")
    assert found.class_names[1] == "1" and found.templates == ("a photo of a {}.",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"test/nshards.txt": "3\n"}, "must hold 3 tars .nshards.txt., 1 are missing, such as"),
        ({"test/nshards.txt": "two"}, "must be a number of tars, got 'two'"),
        ({"classnames.txt": "cat\n"}, "1 of birds are others, such as 1 of s0000001"),
        ({"classnames.txt": b"\xff\xfe"}, "must be a text in UTF-8"),
        ({"zeroshot_classification_templates.txt": "a photo\n"}, "must have {c} where"),
        ({"zeroshot_classification_templates.txt": "a {d}\n"}, "doubled braces"),
        ({"dataset_type.txt": "segmentation"}, "must be one of retrieval, multilabel"),
        ({"test/1.tar": b"no tar"}, "1.tar must be whole, or part of birds is missing"),
    ],
)
def test_what_is_half_there_is_refused_with_its_place(tmp_path, files, message):
    classified(tmp_path / "birds", [0, 1, 0])
    put(tmp_path / "birds", files)
    with pytest.raises(ValueError, match=message):
        opens(tmp_path)


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"cls": b"one"}, "s0000000.cls in test/0.tar of birds cannot be read"),
        ({"cls": b"-1"}, "0 and up, 1 of birds are others, such as -1"),
        ({"cls": b"0", "npy": b"\x93NUMPY"}, "s0000000.npy in test/0.tar"),
    ],
)
def test_a_member_that_says_nothing_is_named(tmp_path, beside, message):
    shards(tmp_path / "birds", [beside, {"cls": b"0"}])
    put(tmp_path / "birds", {"classnames.txt": "a\nb\n"})
    with pytest.raises(ValueError, match=message):
        opens(tmp_path)


def test_arrays_of_objects_are_not_loaded(tmp_path):
    objects = np.empty(1, object)
    objects[0] = "x"
    shards(tmp_path / "birds", [{"cls": b"0", "npy": npy(objects)}, {"cls": b"0"}])
    put(tmp_path / "birds", {"classnames.txt": "a\nb\n"})
    with pytest.raises(ValueError, match="s0000000.npy .* cannot be read: Object arrays"):
        opens(tmp_path)


def test_a_cut_tar_is_refused_and_not_counted_as_a_smaller_set(tmp_path):
    classified(tmp_path / "birds", [0, 1, 0])
    tar = tmp_path / "birds/test/0.tar"
    tar.write_bytes(tar.read_bytes()[:2000])
    with pytest.raises(ValueError, match="0.tar must be whole, or part of birds is missing"):
        opens(tmp_path)


def test_a_split_that_is_not_there_is_named(tmp_path):
    classified(tmp_path / "birds", [0, 1])
    with pytest.raises(ValueError, match="holds neither; is 'val' the right split"):
        opens(tmp_path, split="val")


def test_tars_beyond_the_count_are_left_out_and_said(tmp_path):
    classified(tmp_path / "birds", [0, 1, 0, 1])
    put(tmp_path / "birds", {"test/nshards.txt": "1"})
    found = opens(tmp_path)
    assert len(found) == 2 and "1 tars beyond nshards.txt are not read" in found.notes
