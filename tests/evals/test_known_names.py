"""The field's class names and templates by name."""

import json

import pytest

from vlp.evals.classes import find_classes, read_classes
from vlp.evals.known_names import known_classes, known_ids, known_templates
from vlp.evals.prompts import TEMPLATES, templates


def test_templates_of_the_field_have_one_place_and_their_published_numbers():
    counts = {name: len(templates(name)) for name in known_templates()}
    assert all(t.count("{}") == 1 for each in known_templates().values() for t in each)
    published = dict(imagenet1k=80, cifar10=18, caltech101=34, cars=8, svhn=6, resisc45=4)
    assert published.items() <= counts.items()
    assert set(templates("imagenet1k")) == set(TEMPLATES["clip80"])
    assert "a sattelite image of {}" in templates("resisc45")


def test_class_names_stand_in_the_order_of_their_labels():
    counts = {name: len(each) for name, each in known_classes().items()}
    assert counts["imagenet1k"] == 1000 and counts["country211"] == 211
    assert known_classes()["imagenet1k"][:2] == ("tench", "goldfish")
    assert known_classes()["pets"][0] == "Abyssinian"


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-r", "imagenet-o"])
def test_parts_of_imagenet_are_the_classes_of_their_ids(name):
    assert len(known_classes()[name]) == len(known_ids(name)) == 200
    whole = read_classes("imagenet1k")
    assert known_classes()[name] == tuple(whole[each] for each in known_ids(name))


def test_a_label_of_imagenet_is_a_number_or_an_id_of_wordnet():
    names = read_classes("imagenet1k")
    assert names["0"] == names["n01440764"] == "tench"
    classes = find_classes(["n01440764", "n01443537", "n01440764"], "imagenet1k")
    assert classes.place == {"n01440764": 0, "n01443537": 1}
    assert "1,000 labels have 998 names" in " ".join(classes.notes)


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").write_text("a portrait of {}\n")
    (tmp_path / "mnist").write_text("zero\none\n")
    (tmp_path / "list.json").write_text(json.dumps(["a", "b"]))
    assert templates("pets") == ("a portrait of {}",)
    assert list(read_classes("mnist").values()) == ["zero", "one"]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="nor one of caltech101, .*imagenet1k"):
        read_classes("imagenet2k")
    with pytest.raises(ValueError, match="those of one of caltech101, .*got 'imagenet2k'"):
        templates("imagenet2k")
