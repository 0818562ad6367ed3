"""Prompts of classes: several names, weights, prompts by class, canonical text, both ensembles."""

import json
import string

import numpy as np
import pytest

from tests.sweeps.tasks.given import given
from vlp.sweeps.classes import class_set, place_labels
from vlp.sweeps.entry import Entry
from vlp.sweeps.naming import named
from vlp.sweeps.prompts import canonical_template, canonical_text, class_vectors, prompts_of

LABELS = np.array([0, 1])


def set_of(**known):
    return given(np.zeros((2, 8)), labels=LABELS, **known)


def test_every_name_of_a_class_goes_into_every_template_with_its_weight():
    names = [{"cat": 1.0}, {"dog": 2.0, "hound": 1.0}]
    view = set_of(class_names=["cat", "dog"], aliases=names, templates=["a {}", "the {}"])
    assert prompts_of(view.set) == [
        [("a cat", 1.0), ("the cat", 1.0)],
        [("a dog", 2.0), ("the dog", 2.0), ("a hound", 1.0), ("the hound", 1.0)],
    ]
    vectors = class_vectors(view)  # the i-th new text is the i-th axis
    np.testing.assert_allclose(vectors[0, :2], [1 / np.sqrt(2)] * 2, rtol=1e-6)
    np.testing.assert_allclose(vectors[1, 2:6], np.array([2, 2, 1, 1]) / np.sqrt(10), rtol=1e-6)


def test_scores_are_averaged_where_the_mean_is_not_made_a_unit_again():
    view = set_of(class_names=["cat", "dog"], templates=["a {}", "the {}"])
    vectors = class_vectors(view, ensemble="scores")
    np.testing.assert_allclose(vectors[:, :4], [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    with pytest.raises(ValueError, match="ensemble must be one of embeddings, scores, got 'max'"):
        class_vectors(view, ensemble="max")


def test_prompts_by_class_stand_in_place_of_templates():
    view = set_of(class_names=["a", "b"], prompts=[["one", "two"], ["three"]])
    assert prompts_of(view.set) == [[("one", 1.0), ("two", 1.0)], [("three", 1.0)]]


@pytest.mark.parametrize(
    ("text", "keep", "wanted"),
    [
        ("A Photo of_the  {}!", "", "a photo of the"),
        ("Hot-dog, Sausage", ",", "hotdog, sausage"),
        ("St. Bernard's", "", "st bernards"),
    ],
)
def test_canonical_text_is_small_and_without_signs(text, keep, wanted):
    assert canonical_text(text, keep=keep) == wanted
    assert not set(canonical_text(text)) & set(string.punctuation)


@pytest.mark.parametrize("place", ["{}", "{c}"])
def test_a_canonical_template_keeps_its_place(place):
    assert canonical_template(f'A Photo: "{place}".') == f"a photo {place}"
    view = set_of(class_names=["Big_Cat", "b"], templates=[f"A {place}."])
    assert prompts_of(view.set, canonical=True)[0] == [("a big cat", 1.0)]


def written(tmp_path, value, name="own.json"):
    path = tmp_path / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(path)


def test_a_file_of_classes_has_several_names_each_weighted_where_wanted(tmp_path):
    path = written(tmp_path, ["cat", ["dog", "hound"], {"car": 2, "auto": 0.5}])
    found = class_set(path)
    assert found.names == ["cat", "dog", "car"]
    assert list(found.aliases) == [{"cat": 1}, {"dog": 1, "hound": 1}, {"car": 2, "auto": 0.5}]
    plain = class_set(written(tmp_path, "cat\ndog\n", "names.txt"))
    assert list(plain.names) == ["cat", "dog"] and not plain.aliases and not plain.ids
    by_label = class_set(written(tmp_path, {"n9": "cat", "n3": "dog"}))
    assert by_label.ids == {"n9": 0, "n3": 1}


@pytest.mark.parametrize("wrong", [["cat", []], ["cat", {"dog": 0}], ["cat", {"": 1}], ["cat", 3]])
def test_a_class_without_a_name_or_with_a_weight_of_nothing_is_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="class 1: a class is a name, a list of names"):
        class_set(written(tmp_path, wrong))


def test_labels_are_ids_numbers_or_names_and_else_the_alphabets_order():
    classes = class_set("imagenet-a")
    assert place_labels(["n01498041", "3"], classes, where="x") == {"n01498041": 0, "3": 3}
    animals = class_set("fer2013")
    assert place_labels(["sad", "angry"], animals, where="x") == {"sad": 5, "angry": 0}
    seven = [f"folder {i}" for i in range(7)]
    assert place_labels(seven, animals, where="x") == {name: i for i, name in enumerate(seven)}
    with pytest.raises(ValueError, match="x has 1 others, such as '7'"):
        place_labels(["7", "0"], animals, where="x")


def name_with(view, **values):
    entry = Entry.of("a test", {"name": "birds", "published": "vtab/birds", **values})
    return named(entry, view.set)


def test_prompts_by_class_come_from_an_object_and_templates_from_files_of_several_sets(tmp_path):
    view = set_of(class_names=["cat", "dog"])
    cupl = written(tmp_path, {"cat": ["it purrs"], "dog": ["it barks", "a hound"], "cow": []})
    assert name_with(view, templates=cupl)["prompts"] == (("it purrs",), ("it barks", "a hound"))
    many = written(tmp_path, {"vtab/birds": ["a {c}"], "other": ["{c}"]}, "many.json")
    assert name_with(view, templates=many)["templates"] == ("a {c}",)
    with pytest.raises(ValueError, match="1 have none, such as 'cow'"):
        name_with(set_of(class_names=["cat", "cow"]), templates=written(tmp_path, {"cat": ["x"]}))
    with pytest.raises(ValueError, match="'dog' must have a list of prompts, got 'x'"):
        name_with(view, templates=written(tmp_path, {"cat": ["x"], "dog": "x"}))


def test_defaults_are_for_what_a_set_lacks_and_too_few_names_are_refused(tmp_path):
    bare, whole = set_of(), set_of(class_names=["a", "b"], templates=["{c}"])
    usual = dict(default_classes="pcam", default_templates="pcam")
    assert list(name_with(bare, **usual)["class_names"])[0] == "lymph node"
    assert len(name_with(bare, **usual)["templates"]) == 2
    assert name_with(whole, **usual) == {}
    more = given(np.zeros((2, 4)), labels=np.array([0, 2]))
    with pytest.raises(ValueError, match="pcam must name all 3 classes of birds, got 2"):
        name_with(more, **usual)
