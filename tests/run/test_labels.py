"""`config.data.labelled`: class labels become captions, alone or beside pairs."""

import json
import tarfile

import pytest

from data_pipelines.faults import Reject
from tests.small.runs import TINY, add, losses, picture
from vlp.cli.config import load_config
from vlp.evals.prompts import templates
from vlp.run.inputs import open_inputs, training_data
from vlp.run.workdir import Workdir

NAMES = ("square", "bar", "frame")


@pytest.fixture
def labels(tmp_path):
    """A tar of pictures with a label and no caption."""
    path = tmp_path / "labels.tar"
    with tarfile.open(path, "w") as tar:
        for i in range(12):
            shape = NAMES[i % 3]
            add(tar, f"{i:02d}.png", picture("green", shape, shift=i // 3))
            add(tar, f"{i:02d}.json", json.dumps({"kind": shape}).encode())
    return path


def flags(labels, **settings):
    settings = dict(labelled=labels, label_field="kind") | settings
    return ["--config.tokenizer.length=64"] + [
        f"--config.data.{name}={value}" for name, value in settings.items()
    ]


def test_beside_pairs_labels_have_their_share_of_every_batch(pairs, labels, tmp_path):
    config = load_config(f"{TINY}:data={pairs}", flags(labels, label_share=0.5))
    inputs = open_inputs(config, Workdir(tmp_path / "run"))
    for _ in range(3):
        batch = next(inputs.loader)
        assert (batch["id"] >= 36).sum() == 8 and (batch["weight"] == 1).all()
        for index, text in zip(batch["id"], inputs.tokenizer.decode(batch["text"]), strict=True):
            wanted = [template.format(NAMES[index % 3]) for template in templates("clip7")]
            assert (text in wanted) == (index >= 36)


@pytest.mark.slow
def test_they_train_by_one_command(train, labels, tmp_path):
    chosen = flags(labels, label_share=0.5)
    code, workdir = train("--log-ids", *chosen, arg="steps=3")
    assert code == 0 and len(losses(workdir)) == 3
    config = load_config(f"{TINY}:data={tmp_path / 'pairs.tar'}", chosen)
    inputs = open_inputs(config, Workdir(workdir))
    lines = (workdir / "ids.jsonl").read_text().splitlines()
    assert [json.loads(line)["ids"] for line in lines] == [
        next(inputs.loader)["id"].tolist() for _ in range(3)
    ]


def test_labels_train_alone_and_teach_the_tokenizer(labels, tmp_path):
    chosen = flags(labels, train="", label_templates="photo")
    inputs = open_inputs(load_config(TINY.as_posix(), chosen), Workdir(tmp_path / "run"))
    assert inputs.loader.samples_per_epoch == 12
    said = inputs.tokenizer.decode(next(inputs.loader)["text"])
    assert set(said) == {f"a photo of a {name}." for name in NAMES}


def test_without_a_share_every_sample_comes_once_an_epoch(pairs, labels):
    source, mixture = training_data(str(pairs), labelled=str(labels), label_field="kind")
    assert mixture is None and len(source) == 48
    assert source.captions(0) == (b"a red square",)
    assert source.captions(36) == tuple(t.format("square") for t in templates("clip7"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(train=""), "needs config.data.train or config.data.labelled, got neither"),
        (dict(label_share=0.5), "mixes config.data.train and config.data.labelled, got 0.5 with"),
        (dict(labelled="LABELS"), "field 'label' of labels holds none, .* fields are kind"),
        (
            dict(labelled="LABELS", label_field="kind", label_templates="clip81"),
            "templates must be one",
        ),
        (dict(labelled="LABELS", label_field="kind", label_share=1.5), "between 0 and 1, got 1.5"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message, pairs, labels, tmp_path):
    settings = {name: labels if value == "LABELS" else value for name, value in settings.items()}
    chosen = [f"--config.data.{name}={value}" for name, value in settings.items()]
    with pytest.raises(ValueError, match=message):
        open_inputs(load_config(f"{TINY}:data={pairs}", chosen), Workdir(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def numbered(tmp_path):
    """A folder of pictures with a number in .cls beside each, and a file of their names."""
    folder = tmp_path / "numbered"
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.png").write_bytes(picture("green", NAMES[i % 3]))
        (folder / f"{i}.cls").write_text(str(i % 3))
    names = tmp_path / "classnames.txt"
    names.write_text("\n".join(NAMES) + "\n")
    return folder, names


def test_numbers_train_by_the_names_of_a_file(numbered, tmp_path):
    folder, names = numbered
    chosen = dict(train="", label_field="cls", label_templates="photo", label_classes=names)
    config = load_config(TINY.as_posix(), flags(folder, **chosen))
    inputs = open_inputs(config, Workdir(tmp_path / "run"))
    batch = next(inputs.loader)
    for index, text in zip(batch["id"], inputs.tokenizer.decode(batch["text"]), strict=True):
        assert text == f"a photo of a {NAMES[index % 3]}."


def test_numbers_without_names_are_no_captions(numbered, tmp_path):
    folder, names = numbered
    with pytest.raises(ValueError, match=r"holds 0, .*give names .*config.data.label_classes"):
        training_data("", labelled=str(folder), label_field="cls")
    names.write_text("dog\ncat\n")
    source, _ = training_data("", labelled=str(folder), label_field="cls", label_classes=str(names))
    assert source.captions(0)[0] == templates("clip7")[0].format("dog")
    with pytest.raises(Reject, match="label missing"):
        source.captions(2)  # the file names two classes, this is the third


def test_training_finds_names_by_other_spellings_of_a_number(numbered):
    folder, names = numbered
    for i, label in enumerate(("000", "1.0", "true", NAMES[2], "False", "2")):
        (folder / f"{i}.cls").write_text(label)
    chosen = dict(labelled=str(folder), label_field="cls", label_templates="simple")
    source, _ = training_data("", **chosen, label_classes=str(names))
    said = [source.captions(i)[0] for i in range(6)]
    assert said == [NAMES[i] for i in (0, 1, 1, 2, 0, 2)]


def test_folders_of_classes_train_by_their_names(tmp_path):
    for shape in NAMES:
        (tmp_path / "set" / shape).mkdir(parents=True)
        (tmp_path / "set" / shape / "0.png").write_bytes(picture("green", shape))
    source, _ = training_data("", labelled=str(tmp_path / "set"), label_field="cls")
    said = {source.captions(i)[0] for i in range(len(source))}
    assert said == {templates("clip7")[0].format(name) for name in NAMES}


def test_pictures_alone_are_no_pairs(numbered):
    folder, _ = numbered
    with pytest.raises(ValueError, match="needs captions, numbered has none: .*columns image and"):
        training_data(str(folder))


def test_the_limits_of_a_run_reach_its_data(pairs, tmp_path):
    config = load_config(f"{TINY}:data={pairs}", ["--config.data.limits.pixels=399"])
    inputs = open_inputs(config, Workdir(tmp_path / "run"))  # pictures are 20 by 20
    assert (next(inputs.loader)["weight"] == 0).all()
    assert inputs.source.limits.pixels == 399
    with pytest.raises(ValueError, match="at least 1, got caption_bytes 0"):
        bad = load_config(f"{TINY}:data={pairs}", ["--config.data.limits.caption_bytes=0"])
        open_inputs(bad, Workdir(tmp_path / "run"))
