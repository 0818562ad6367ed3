"""Zero-shot classification on data as people have it: labels of any kind, without captions."""

import json
import logging
import tarfile

import pytest

from data_pipelines.opening import open_source
from tests.interop import tiny
from tests.small.runs import COLOURS, SHAPES, add, picture, write_pairs
from vlp.cli.main import main
from vlp.evals.embed import Encoder
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.tasks import check_data, evaluate

NAMES = tuple(COLOURS)  # red, green, blue: sorted otherwise than they stand
WRITTEN = {
    "names": lambda place: json.dumps({"label": NAMES[place]}),
    "numbers": lambda place: json.dumps({"label": place}),
    "floats": lambda place: json.dumps({"label": float(place)}),
    "digits": lambda place: json.dumps({"label": str(place)}),
    "one of a list": lambda place: json.dumps({"label": [place]}),
    "blanks around": lambda place: json.dumps({"label": f" {NAMES[place]}\n"}),
}


def write_labelled(path, label, *, kind="json", more=()):
    """Twelve pictures, four a class, without captions; `more` are further members."""
    with tarfile.open(path, "w") as tar:
        for place, name in enumerate(NAMES):
            for shape in SHAPES:
                add(tar, f"{name}-{shape}.png", picture(name, shape))
                add(tar, f"{name}-{shape}.{kind}", label(place).encode())
        for name, data in more:
            add(tar, name, data)
    return str(path)


@pytest.fixture(scope="module")
def evaluator():
    return Evaluator.of_run(tiny.make_run("clip"))


@pytest.fixture
def classes(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(NAMES) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def expected(evaluator, tmp_path_factory):
    """The scores of the same pictures with captions, their labels names."""
    path = tmp_path_factory.mktemp("data") / "pairs.tar"
    write_pairs(path, copies=1)
    return evaluate(evaluator, "classification", data=str(path), label="kind")["metrics"]


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_way_to_write_a_label_gives_the_same_scores(
    evaluator, tmp_path, kind, classes, expected
):
    data = write_labelled(tmp_path / "a.tar", WRITTEN[kind])
    result = evaluate(evaluator, "classification", data=data, label="label", classes=classes)
    assert result["metrics"] == pytest.approx(expected)
    counts = result["counts"]
    assert (counts["images"], counts["classes"], counts["unlabelled"]) == (12, 3, 0)


@pytest.mark.parametrize("label", [str, lambda place: NAMES[place]], ids=["numbers", "names"])
def test_cls_members_are_the_labels_unless_a_field_is_named(
    evaluator, tmp_path, label, classes, expected
):
    data = write_labelled(tmp_path / "a.tar", label, kind="cls")
    result = evaluate(evaluator, "classification", data=data, classes=classes)
    assert result["metrics"] == pytest.approx(expected)


def test_a_folder_a_class_is_a_label(evaluator, tmp_path, expected):
    for name in NAMES:
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for shape in SHAPES:
            (tmp_path / "pictures" / name / f"{shape}.png").write_bytes(picture(name, shape))
    result = evaluate(evaluator, "classification", data=str(tmp_path / "pictures"))
    assert result["metrics"] == pytest.approx(expected)
    assert "3 labels found" in result["notes"][0]


def test_false_and_true_are_two_classes_and_two_groups(evaluator, tmp_path):
    path = tmp_path / "pairs.tar"
    flags = {
        f"{colour}-{shape}-0.json": json.dumps({"indoor": shape == "bar"}).encode()
        for colour in COLOURS
        for shape in SHAPES
    }
    write_pairs(path, copies=1, replace=flags)
    assert (
        evaluate(evaluator, "classification", data=str(path), label="indoor")["counts"]["classes"]
        == 2
    )
    counts = evaluate(evaluator, "retrieval", data=str(path), group="indoor")["counts"]
    assert counts["False/text_to_image/queries"] == 9
    assert counts["True/text_to_image/queries"] == 3


def test_samples_without_a_label_change_no_score_and_are_counted(evaluator, tmp_path, expected):
    more = []
    for number, text in enumerate(
        ("{}", '{"label": null}', '{"label": " "}', '{"label": []}', "[")
    ):
        more += [(f"z{number}.png", picture("red", "bar")), (f"z{number}.json", text.encode())]
    data = write_labelled(tmp_path / "a.tar", WRITTEN["names"], more=more)
    result = evaluate(evaluator, "classification", data=data, label="label")
    assert result["metrics"] == pytest.approx(expected)
    assert result["counts"]["unlabelled"] == 5 and result["samples"] == 17
    assert "5 samples have no 'label'" in result["notes"]


def test_unreadable_pictures_are_counted_with_their_reasons(evaluator, tmp_path):
    more = [("z.png", b"<html>"), ("z.json", b'{"label": "red"}')]
    data = write_labelled(tmp_path / "a.tar", WRITTEN["names"], more=more)
    result = evaluate(evaluator, "classification", data=data, label="label")
    assert result["counts"]["rejected"] == result["rejected"] == 1
    assert result["counts"]["images"] == 12
    assert "images left out: image not recognised 1" in result["notes"]


def test_captions_left_out_are_counted_where_they_are_read(evaluator, tmp_path):
    path = write_pairs(tmp_path / "a.tar", copies=1, replace={"red-bar-0.txt": b" "})
    result = evaluate(evaluator, "retrieval", data=str(path))
    assert result["counts"]["captions_left_out"] == 1 and result["counts"]["texts"] == 11
    assert "captions left out: caption empty 1" in result["notes"]


def test_classes_that_do_not_occur_are_candidates_still(evaluator, tmp_path, expected):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps([*NAMES, "yellow", "an exotic colour"]))
    data = write_labelled(tmp_path / "a.tar", WRITTEN["numbers"])
    result = evaluate(evaluator, "classification", data=data, label="label", classes=str(path))
    assert result["counts"]["classes"] == 5 and result["chance"]["top1"] == 0.2
    assert result["chance"]["majority_share"] == pytest.approx(1 / 3)
    assert result["metrics"]["top1"] <= expected["top1"]
    assert "3 of the 5 classes" in result["notes"][0]


@pytest.mark.parametrize(
    ("label", "settings", "said"),
    [
        ("names", {"label": "colour"}, "field 'colour' .* none of 12 .* fields there: label"),
        ("names", {}, "field 'cls' .* fields there: label"),
        ("several", {"label": "label"}, "one label a sample, red-square of a has red, blue"),
        ("nested", {"label": "label"}, "red-square, 'label': a label is"),
        ("one", {"label": "label"}, "at least two classes, .* only 'red'"),
        ("numbers", {"label": "label", "classes": "two"}, "got '2'"),
        ("names", {"label": "label", "templates": "smiple"}, "one of simple, emoji, photo, clip7"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_embedded(
    evaluator, tmp_path, monkeypatch, label, settings, said
):
    (tmp_path / "two").write_text("red\ngreen\n")
    written = WRITTEN | {
        "several": lambda place: json.dumps({"label": ["red", "blue"]}),
        "nested": lambda place: json.dumps({"label": {"name": "red"}}),
        "one": lambda place: json.dumps({"label": "red"}),
    }
    data = write_labelled(tmp_path / "a.tar", written[label])
    if "classes" in settings:
        settings = settings | {"classes": str(tmp_path / "two")}
    monkeypatch.setattr(Encoder, "embed_images", None)
    with pytest.raises(ValueError, match=said):
        evaluate(evaluator, "classification", data=data, **settings)


@pytest.mark.parametrize("task", ["retrieval", "matching", "captioning"])
def test_tasks_that_read_captions_name_what_would_do_without(tmp_path, task):
    source = open_source(write_labelled(tmp_path / "a.tar", WRITTEN["names"]))
    said = "needs captions, a has none: of 12 samples caption missing 12.*classification.*: label"
    with pytest.raises(ValueError, match=f"{task} {said}"):
        check_data(task, source=source, settings={})
    check_data("classification", source=source, settings={"label": "label"})


def test_one_usable_sample_is_enough_wherever_it_stands(tmp_path):
    for usable in (0, 11, 500, 998):
        path = tmp_path / f"{usable}.tar"
        with tarfile.open(path, "w") as tar:
            for index in range(999):
                add(tar, f"{index:04}.png", picture("red", "bar") if index == usable else b"")
                if index == usable:
                    add(tar, f"{index:04}.txt", b"a red bar")
        check_data("retrieval", source=open_source(str(path)), settings={})


def test_data_without_one_picture_are_refused_with_the_reasons(tmp_path):
    bad = {f"{c}-{s}-0.png": b"<html>" for c in COLOURS for s in SHAPES} | {"red-bar-0.png": b""}
    source = open_source(str(write_pairs(tmp_path / "a.tar", copies=1, replace=bad)))
    for task in ("retrieval", "classification"):
        with pytest.raises(ValueError, match="image not recognised 11, image empty 1"):
            check_data(task, source=source, settings={"label": "kind"})


@pytest.mark.parametrize(("label", "warns"), [("numbers", True), ("names", False)])
def test_prompts_of_numbers_are_warned_of(tmp_path, caplog, label, warns):
    source = open_source(write_labelled(tmp_path / "a.tar", WRITTEN[label]))
    with caplog.at_level(logging.WARNING):
        check_data("classification", source=source, settings={"label": "label"})
    assert ("--classes=FILE" in caplog.text) is warns


def test_the_command_refuses_data_before_it_opens_the_model(tmp_path, capsys):
    data = write_labelled(tmp_path / "a.tar", WRITTEN["names"])
    for flags, said in (
        (["--task=retrieval"], "retrieval needs captions"),
        (["--task=classification"], "the field 'cls'"),
        (["--task=classification", "--label=colour"], "fields there: label"),
    ):
        assert main(["eval", "--model=nowhere", f"--data={data}", *flags]) == 1
        assert said in capsys.readouterr().err


def test_the_command_says_and_writes_what_was_left_out(tmp_path, evaluator, capsys):
    from vlp.interop.save import save_run

    run = save_run(tiny.make_run("clip"), tmp_path / "clip")
    more = [("z.png", b"<html>"), ("z.json", b'{"label": "red"}'), ("y.png", picture("red", "bar"))]
    data = write_labelled(tmp_path / "a.tar", WRITTEN["names"], more=more)
    out = tmp_path / "result.json"
    flags = ["--task=classification", "--label=label", f"--out={out}", "--threads=1"]
    assert main(["eval", f"--model={run}", f"--data={data}", *flags]) == 0
    said = capsys.readouterr().out
    assert "image not recognised 1" in said and "1 samples have no 'label'" in said
    assert "one of 3 classes" in said
    counts = json.loads(out.read_text())["counts"]
    assert (counts["rejected"], counts["unlabelled"], counts["images"]) == (1, 1, 12)
