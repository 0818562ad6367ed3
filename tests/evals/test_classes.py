"""Which classes there are, and what their labels mean: from files and from the data."""

import json

import pytest

from vlp.evals.classes import find_classes, read_classes

NAMES = ["cat", "dog", "hot dog"]


@pytest.fixture
def written(tmp_path):
    """Writes a file of classes: its path."""

    def write(content, name="classes.txt"):
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("cat\ndog\nhot dog\n", "classes.txt"),
        ("\ufeffcat \r\n dog\r\nhot dog\r\n\r\n", "classes.txt"),
        (NAMES, "classes.json"),
        ({"0": "cat", "1": "dog", "2": "hot dog"}, "classes.json"),
    ],
)
def test_the_same_classes_come_from_lines_lists_and_objects(written, content, name):
    path = written(content, name)
    assert read_classes(path) == {"0": "cat", "1": "dog", "2": "hot dog"}
    for labels in (["0", "2"], ["00", "02"], ["cat", "hot dog"], ["False", "2"]):
        classes = find_classes(labels, path)
        assert classes.names == tuple(NAMES)
        assert [classes.place[label] for label in labels] == [0, 2]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("0,cat\n1,dog\n2,hot dog\n", "c.txt"),
        ("label,name\n2,hot dog\n0,cat\n1,dog\n", "c.csv"),
        (',name\n0,cat\n1,dog\n2,"hot dog"\n', "c.csv"),
        ("00\tcat\n01\tdog\n02\thot dog\n", "c.tsv"),
        ("2: hot dog\n1: dog\n0: cat\n", "c.txt"),
        ("# animals\n0 cat\n1 dog\n2 hot dog\n", "c.txt"),
        ("# animals\n#\ncat\ndog\nhot dog\n", "c.txt"),
    ],
)
def test_labels_in_front_of_names_are_labels_and_remarks_and_headers_nothing(
    written, content, name
):
    assert read_classes(written(content, name)) == {"0": "cat", "1": "dog", "2": "hot dog"}


def test_ids_of_wordnet_in_front_of_names_are_labels(written):
    path = written("n01443537 goldfish\nn01440764 tench, Tinca tinca\n")
    classes = find_classes(["n01440764"], path)
    assert classes.names[classes.place["n01440764"]] == "tench, Tinca tinca"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("1,cat\n2,dog\n", "c.txt"),
        ("1 cat\n2 dog\n", "c.txt"),
        ("0,cat\n0,dog\n", "c.txt"),
        ("0,cat\n1,dog\n3,mouse\n", "c.txt"),
        ("n01440764 tench\nn01440764 goldfish\n", "c.txt"),
        ("0,cat\n1,dog\nmouse\n", "c.txt"),
        ("cat,0\ndog,1\n", "c.txt"),
        ("name,label\ncat,0\ndog,1\n", "c.csv"),
        ("label,name\na,cat\nb,dog\n", "c.csv"),
        ("name\ncat\ndog\n", "c.csv"),
        ("label,name,colour\n0,cat,red\n1,dog,blue\n", "c.csv"),
    ],
)
def test_what_could_be_other_labels_is_refused_with_the_remedy(written, content, name):
    with pytest.raises(ValueError, match=f"{name} must have names alone .* as a .json file"):
        read_classes(written(content, name))


@pytest.mark.parametrize(
    "names",
    [
        ["5 dollars", "20 dollars"],
        ["2,4-D", "atrazine", "glyphosate"],
        ["7-up", "cola"],
        ["a\fb", "c\x85d", "e\u2028f"],
    ],
)
def test_digits_and_marks_within_names_stay_names(written, names):
    assert list(read_classes(written("\n".join(names))).values()) == names


def test_a_word_with_a_hash_is_neither_a_remark_nor_a_class_in_silence(written):
    with pytest.raises(ValueError, match="'#love' may be a remark or a class"):
        read_classes(written("#love\nsunset\nsea\n"))


def test_two_spellings_of_a_label_in_unicode_are_one_class(written):
    path = written("cafe\u0301\ntea\n")
    assert find_classes(["caf\u00e9"], path).place == {"caf\u00e9": 0}


def test_classes_that_may_be_one_are_said():
    labels = ["True", "true", "1", "0", "hot_dog", "Hot dog", "-1", "null"]
    classes = find_classes(labels)
    assert classes.alike in classes.notes
    assert "'1' and 'True' and 'true'" in classes.alike
    assert "'Hot dog' and 'hot_dog'" in classes.alike
    assert "'null' may stand for no label" in classes.alike
    assert "'-1'" not in classes.alike and "'0'" not in classes.alike
    assert find_classes(["cat", "dog"]).alike == ""


@pytest.mark.parametrize(
    ("label", "name"),
    [("1", "dog"), ("001", "dog"), ("True", "dog"), ("TRUE", "dog"), ("false", "cat"),
     ("dog", "dog")],
)  # fmt: skip
def test_labels_of_training_and_evaluation_find_names_by_one_rule(written, label, name):
    path = written("cat\ndog\n")
    classes = find_classes([label], path)
    assert classes.names[classes.place[label]] == read_classes(path)[label] == name


def test_classes_that_do_not_occur_stay_candidates_and_are_counted(written):
    classes = find_classes(["1", None, "1"], written("cat\ndog\nhot dog"))
    assert len(classes.names) == 3 and "1 of the 3 classes" in classes.notes[0]


def test_labels_of_one_name_are_one_class_and_that_is_said(written):
    classes = find_classes(["0", "2"], written("crane\ndog\ncrane\n"))
    assert classes.names == ("crane", "dog") and classes.place["0"] == classes.place["2"] == 0
    assert "'crane' more than once" in classes.notes[1]


def test_without_a_file_the_labels_are_the_classes_in_their_natural_order():
    classes = find_classes(["10", "9", None, "2", "b", "a"])
    assert classes.names == ("2", "9", "10", "a", "b")
    assert [classes.place[name] for name in classes.names] == [0, 1, 2, 3, 4]
    assert "5 labels found" in classes.notes[0]


def test_digits_as_names_mean_themselves_only_where_their_numbers_say_the_same(written):
    assert find_classes(["3", "0"], written("0\n1\n2\n3")).place == {"3": 3, "0": 0}
    with pytest.raises(ValueError, match="'1' is 1 as well as 2; .*object from labels to names"):
        find_classes(["1"], written("1\n2\n3"))
    assert find_classes(["1"], written({"1": "one", "2": "two"}, "c.json")).place == {"1": 0}


@pytest.mark.parametrize("label", ["3", "-1", "mouse", "Cat"])
def test_a_label_that_is_no_class_is_refused_with_some_that_are(written, label):
    with pytest.raises(ValueError, match=f"3 classes of .*0: cat, 1: dog.* got {label!r}"):
        find_classes(["0", label], written("cat\ndog\nhot dog\n"))


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("cat\n\ndog\n", "c.txt", "class 1 must have a name, got ''"),
        ("cat\n", "c.txt", "at least two classes"),
        ("", "c.txt", "at least two classes"),
        ('"cat",\n"dog"\n', "c.txt", "line 1: the words alone are needed"),
        ("cat\ndog,\n", "c.txt", "line 2: the words alone are needed"),
        ("[\ncat\n]\n", "c.txt", "line 1: the words alone are needed"),
        (["cat", 7], "c.json", "class 1 must have a name, got '7'"),
        ({"0": ["n01", "cat"], "1": ["n02", "dog"]}, "c.json", "class 0 must have a name"),
        ("cat\ndog\n", "c.json", "must be JSON"),
        ("7", "c.json", "at least two classes"),
        ('{"0": "cat", "1": "dog", "0": "cow"}', "c.json", "the key '0' is there 2 times"),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_its_place(written, content, name, said):
    with pytest.raises(ValueError, match=said):
        read_classes(written(content, name))


def test_no_file_and_another_encoding_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one name a line, or JSON, got 'nowhere.txt'"):
        read_classes("nowhere.txt")
    path = tmp_path / "c.txt"
    path.write_bytes("Käfer\nMaus\n".encode("latin-1"))
    with pytest.raises(ValueError, match="must be UTF-8"):
        read_classes(str(path))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["0", "1"], True),
        (["False", "True"], True),
        (["n01440764", "n01443537"], True),
        (["1.5", "-3"], True),
        (["0", "cat"], False),
        (["7-up", "cola"], False),
    ],
)
def test_labels_that_say_nothing_of_a_picture_are_known(labels, expected):
    assert find_classes(labels).without_words is expected
