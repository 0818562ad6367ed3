"""A sweep with probes: the training part, features before the projection and of hidden layers."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from tests.interop import tiny
from tests.small.runs import add
from vlp.evals.embed import Encoder, finished
from vlp.evals.features import POOLED
from vlp.evals.probes.draws import shots_by_class
from vlp.evals.probes.ridge import ridge
from vlp.interop.save import save_run
from vlp.sweeps.bars import Bars
from vlp.sweeps.entry import Entry
from vlp.sweeps.log import Log
from vlp.sweeps.models import expand
from vlp.sweeps.places import open_entry
from vlp.sweeps.plan import Plan
from vlp.sweeps.vectors import VectorStore
from vlp.sweeps.work import Sweep

CLASSES, TEST, TRAIN = 3, 12, 30
FEW = {"shots": [2], "seeds": 1, "feature": POOLED}


def picture(rng, label):
    """Noise around a colour."""
    pixels = rng.integers(0, 90, (20, 20, 3)) + 160 * np.eye(3, dtype=int)[label]
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def part(folder, count, *, seed):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    (folder / "nshards.txt").write_text("1")
    with tarfile.open(folder / "0.tar", "w") as tar:
        for i in range(count):
            add(tar, f"s{i:03d}.png", picture(rng, i % CLASSES) if i != 4 else b"<html>")
            add(tar, f"s{i:03d}.cls", str(i % CLASSES).encode())


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A model and a set with two splits."""
    root = tmp_path_factory.mktemp("probes")
    save_run(tiny.make_run("clip"), root / "model")
    part(root / "colours" / "test", TEST, seed=0)
    part(root / "colours" / "train", TRAIN, seed=1)
    (root / "colours" / "classnames.txt").write_text("red\ngreen\nblue\n")
    return root


def entry(*tasks, train="train", **settings):
    return Entry("colours", train=train, tasks=tasks, settings=settings)


def plan_of(root, out, entry, **others):
    out.mkdir(exist_ok=True)
    models = expand([str(root / "model")])
    return Plan(models, [entry], out, str(root), **{"draws": 20, **others})


def swept(root, out, entry, **others):
    log = Log(out / "log.jsonl")
    with Bars() as bars:
        Sweep(plan_of(root, out, entry, **others), log, bars=bars).carry_out()
    return {row["task"]: row for row in log.rows.values()}


def kept(out):
    """The features that are kept, by name and number of pictures."""
    about = [json.loads(file.read_text()) for file in (out / "vectors").glob("*.json")]
    return {(each["of"]["feature"], len(each["ids"])) for each in about if "feature" in each["of"]}


def test_a_probe_learns_from_the_other_split_what_its_own_feature_says(root, tmp_path):
    rows = swept(root, tmp_path, entry("classification", "few_shot", few_shot=FEW))
    row = rows["few_shot"]
    assert "failed" not in row and "failed" not in rows["classification"]
    assert row["counts"] == {
        "pictures": TEST - 1, "classes": 3, "occurring": 3, "training": TRAIN - 1,
    }  # fmt: skip
    assert any(note.startswith("training part: pictures left out") for note in row["notes"])
    # The training part is embedded for the probe alone, and only by what that reads.
    assert kept(tmp_path) == {
        ("embedding", TEST - 1), (POOLED, TEST - 1), (POOLED, TRAIN - 1),
    }  # fmt: skip
    found = {}
    store = VectorStore(tmp_path / "vectors")
    for file in store.folder.glob("*.json"):
        about = json.loads(file.read_text())
        if about["of"].get("feature") == POOLED:
            rows_ = store.find(about["of"])
            found[len(about["ids"])] = rows_.vectors, np.asarray(rows_.ids) % CLASSES
    (x, labels), (test, own) = found[TRAIN - 1], found[TEST - 1]
    drawn = np.concatenate([places[:2] for places in shots_by_class(labels, seed=0)])
    head = ridge(x[drawn], labels[drawn], num_classes=3, l2=1024.0)
    expected = np.mean(head(test).argmax(axis=1) == own)
    assert row["metrics"]["2-shot/top1"]["value"] == pytest.approx(expected)


def test_features_are_what_the_model_says():
    names = ("layer:0", "layer:-1", "layer:1:cls", POOLED)
    run, rng = tiny.make_run("clip"), np.random.default_rng(0)
    images = np.concatenate([run.preprocess(picture(rng, label)) for label in (0, 1)])
    work = Encoder.from_model(run.model).embedding([{"image": images}], names=names)
    found = finished(work).features
    states = np.asarray(run.model.image_hidden_states(images), np.float32)
    first = run.model.image.class_token is not None
    np.testing.assert_allclose(found["layer:0"], states[0][:, first:].mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found["layer:-1"], states[-1][:, first:].mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found["layer:1:cls"], states[1][:, 0], atol=1e-5)
    encoded = run.model.encode_image(images)
    np.testing.assert_allclose(found[POOLED], np.asarray(encoded.pooled), atol=1e-5)


def test_a_feature_that_a_model_has_not_fails_its_task_alone(root, tmp_path):
    layer = {"feature": "layer:99", "ks": [1]}
    rows = swept(root, tmp_path, entry("few_shot", "knn", few_shot=FEW, knn=layer))
    assert "layer:99 is beyond" in rows["knn"]["failed"]
    assert "failed" not in rows["few_shot"]


def test_without_a_training_split_the_task_fails_and_says_what_to_give(root, tmp_path):
    rows = swept(root, tmp_path, entry("knn", train=""))
    assert "name it as `train` in the suite" in rows["knn"]["failed"]


def test_a_training_split_that_is_not_there_is_a_row_with_its_reason(root, tmp_path):
    rows = swept(root, tmp_path, entry("knn", train="val"))
    assert [row["failed"] for row in rows.values() if "val" in row["failed"]]


def test_a_task_that_does_not_learn_opens_no_training_split(root, tmp_path):
    plan = plan_of(root, tmp_path, entry("classification", train="nowhere"))
    assert open_entry(plan.entries[0], plan).train is None


def test_a_limit_is_of_the_training_part_too(root, tmp_path):
    plan = plan_of(root, tmp_path, entry("knn"), limit=9)
    found = open_entry(plan.entries[0], plan)
    assert len(found) == len(found.train) == 9


def test_a_name_that_is_no_feature_is_refused_at_the_start(root, tmp_path):
    with pytest.raises(ValueError, match="colours: feature must be"):
        plan_of(root, tmp_path, entry("knn", knn={"feature": "layer"}))


def test_classes_of_other_data_are_known_by_their_names(root, tmp_path):
    emoji = Entry(
        "categories", data="emoji:twemoji", train="emoji:noto", label="category", tasks=("knn",)
    )
    found = open_entry(emoji, plan_of(root, tmp_path, emoji))
    names = list(found.class_names)
    assert found.train.labels is not None and len(names) > 5
    own = {names[label] for label in np.unique(found.train.labels)}
    assert own == set(names)
