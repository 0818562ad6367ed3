"""Pictures in a folder a class: their numbers by name, by number, by WordNet's id; ObjectNet."""

import json

import pytest

from tests.sweeps.layouts.made import opened, opens, png, put


def pictures(*names):
    return {name: png(i) for i, name in enumerate(names)}


def test_classes_are_the_folders_in_the_order_of_the_alphabet(tmp_path):
    put(tmp_path / "birds", pictures("wild_cat/a.png", "dog/b.png", "dog/c.png"))
    found = opened(tmp_path, layout="folders")
    assert list(found.class_names) == ["dog", "wild cat"]
    keys = [found.pictures.key(i) for i in range(3)]
    assert dict(zip(keys, found.labels.tolist(), strict=True)) == {
        "wild_cat/a.png": 1, "dog/b.png": 0, "dog/c.png": 0,
    }  # fmt: skip


def test_a_list_of_as_many_names_is_in_that_order(tmp_path):
    put(tmp_path / "birds", pictures("n1/a.png", "n2/b.png"))
    put(tmp_path, {"names.txt": "tench\ngoldfish\n"})
    found = opened(tmp_path, layout="folders", classes=str(tmp_path / "names.txt"))
    assert list(found.class_names) == ["tench", "goldfish"] and found.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("known", "folders", "labels"),
    [
        ("imagenet1k", ["n01440764", "n15075141"], [0, 999]),
        ("imagenet-a", ["n01498041", "n12267677"], [0, 199]),
        ("imagenet1k", ["10", "2"], [10, 2]),  # ImageNet-V2
    ],
)
def test_folders_of_imagenet_are_ids_or_numbers(tmp_path, known, folders, labels):
    put(tmp_path / "birds", pictures(*(f"val/{folder}/x.png" for folder in folders)))
    found = opened(tmp_path, layout="folders", default_classes=known)
    assert sorted(found.labels.tolist()) == sorted(labels)
    assert found.class_names[0] == ("tench" if known == "imagenet1k" else "stingray")


def test_the_split_is_a_folder_where_there_is_one(tmp_path):
    put(
        tmp_path / "birds", pictures("train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png")
    )
    assert len(opened(tmp_path, layout="folders")) == 2
    assert opens(tmp_path, split="train").pictures.key(0) == "a/1.png"


def test_a_folder_that_is_none_of_the_classes_is_named(tmp_path):
    put(tmp_path / "birds", pictures("n01440764/a.png", "horses/b.png"))
    with pytest.raises(ValueError, match="birds has 1 others, such as 'horses'"):
        opens(tmp_path, default_classes="imagenet1k")


def test_numbers_without_names_are_refused(tmp_path):
    put(tmp_path / "birds", pictures("0/a.png", "1/b.png"))
    with pytest.raises(ValueError, match="numbers, which say nothing of a picture"):
        opens(tmp_path)


def test_captions_in_such_folders_are_vlps_own_data(tmp_path):
    files = pictures("a/1.png", "b/2.png") | {"a/1.txt": "one", "b/2.txt": "two"}
    put(tmp_path / "birds", files)
    assert opened(tmp_path, layout="data").texts == ["one", "two"]


def test_objectnet_has_the_classes_that_imagenet_has_in_the_order_of_folders(tmp_path):
    mapping = {"zebra_mat": "Mat", "air_horn": "Horn", "odd": "Odd thing"}
    imagenet = {"Mat": "doormat", "Horn": "air horn; trumpet"}
    files = {
        "mappings/folder_to_objectnet_label.json": mapping,
        "mappings/objectnet_to_imagenet_1k.json": imagenet,
        **{f"objectnet-1.0/images/{name}/x.png": png(i) for i, name in enumerate(mapping)},
    }
    put(tmp_path / "birds", files)
    (tmp_path / "birds/objectnet-1.0/images/odd/gone.png").symlink_to(tmp_path / "nothing.png")
    found = opened(tmp_path, layout="objectnet")
    assert list(found.class_names) == ["horn", "mat"] and found.labels.tolist() == [0, 1]
    assert found.notes == [
        "1 files in images/ are passed over: 1 like odd/gone.png (no file, or a link to nothing)",
        "1 folders of classes that ImageNet has not are left out",
    ]


def test_objectnet_without_its_labels_is_refused(tmp_path):
    put(tmp_path / "birds", {"mappings/objectnet_to_imagenet_1k.json": json.dumps({})})
    with pytest.raises(ValueError, match="must hold mappings/folder_to_objectnet_label.json"):
        opens(tmp_path)
