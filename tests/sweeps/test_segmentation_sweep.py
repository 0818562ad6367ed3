"""Segmentation in a sweep: known answers, an independent count, and what fails with its reason."""

import json
import os
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.interop import tiny
from tests.small.runs import command
from tests.sweeps.layouts.made import put, saved_array
from tests.sweeps.segmentation_sweep import (
    KINDS,
    NAMES,
    PICTURES,
    knowing,
    made,
    patched,
    row_of,
    swept,
)
from tests.sweeps.small_sweep import table
from vlp.evals.embed import Encoder
from vlp.nn.stack import layer_of
from vlp.parallel.mesh import make_mesh
from vlp.sweeps.entry import Entry
from vlp.sweeps.live import Live, LiveRun, LiveSet
from vlp.sweeps.vectors import MemoryStore

QUERIES = {
    "image.pool": "queries",
    "image.queries": dict(width=24, num_queries=4, num_heads=2),
}


def entry(name="pasted", **settings):
    return Entry(name, data="pasted", tasks=("segmentation",), settings={"segmentation": settings})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Models and a set."""
    return made(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def log(root, tmp_path_factory):
    """A sweep of all of them, by both kinds of tokens."""
    both = [entry("last"), entry("values", tokens="values")]
    return swept(root, tmp_path_factory.mktemp("out"), [*KINDS, "crops"], *both)


def row(log, model, name):
    (found,) = [
        row for row in log.rows.values() if row["model"].endswith(model) and row["set"] == name
    ]
    return found


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("tokens", ["last", "values"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_knows_the_colours_of_classes_finds_every_pixel(tmp_path, kind, tokens, times):
    knowing(kind, tmp_path / "model")
    patched(tmp_path / "pasted", side=8, times=times)
    found = row_of(swept(tmp_path, tmp_path / "out", ["model"], entry(tokens=tokens)))
    assert "failed" not in found
    for name in ("mIoU", "mIoU_either", "pixel_accuracy", "mean_class_accuracy", "IoU/heart"):
        assert found["metrics"][name]["value"] == 1, name
    assert found["counts"] == {
        "pictures": 3, "classes": 4, "occurring": 3, "pixels": 3 * (24 * times) ** 2,
    }  # fmt: skip
    said = "1 of 4 classes are in no mask: they compete and have no IoU: dog"
    assert said in found["notes"]


def independent(kind, root, *, values):
    """Hits, union and labelled pixels of the set, by other ways from pixels to numbers."""
    run = tiny.make_run(kind)
    model, tower = run.model, run.model.image
    texts = np.asarray(model.encode_text(run.tokenize(list(NAMES))).embedding)
    counts = np.zeros((3, len(NAMES)))
    for file in sorted((root / "pasted/images").iterdir()):
        squashed = jnp.asarray(run.preprocess(Image.open(file)))
        x = tower.embed(model.normalise(squashed))
        itself = jnp.eye(x.shape[1], dtype=bool)[None, None] if values else None
        x = layer_of(tower.stack.blocks, 0)(x)
        x = tower.norm(layer_of(tower.stack.blocks, 1)(x, mask=itself))
        x = x[0, tower.class_token is not None :]
        vectors = tower.head(x[:, None]) if kind == "siglip" else model.image_projection(x)
        vectors = vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
        labels = np.asarray(Image.open(root / "pasted/masks" / file.name))
        scores = (vectors @ texts.T).reshape(3, 3, -1)
        scores = jax.image.resize(scores, (*labels.shape, len(NAMES)), "linear", antialias=False)
        said, counted = np.asarray(scores.argmax(-1)), labels != 255
        for c in range(len(NAMES)):
            one, other = (said == c) & counted, labels == c
            counts[:, c] += (one & other).sum(), (one | other).sum(), other.sum()
    return counts


@pytest.mark.parametrize("tokens", ["last", "values"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_that_are_counted_by_other_ways(log, root, kind, tokens):
    found = row(log, kind, tokens)
    hits, union, there = independent(kind, root, values=tokens == "values")
    assert there.sum() == found["counts"]["pixels"] and (there == 0).sum() == 1
    metrics = {name: each["value"] for name, each in found["metrics"].items()}
    assert metrics["mIoU"] == pytest.approx((hits / union)[there > 0].mean(), abs=1e-4)
    assert metrics["pixel_accuracy"] == pytest.approx(hits.sum() / there.sum(), abs=1e-4)
    for c in np.flatnonzero(there):
        assert metrics[f"IoU/{NAMES[c]}"] == pytest.approx(hits[c] / union[c], abs=1e-4)
    assert found["counts"]["pictures"] == PICTURES
    main = found["metrics"]["mIoU"]
    assert found["main"] == "mIoU" and main["low"] <= main["value"] <= main["high"]


def test_pictures_of_a_model_that_crops_are_squashed_whole_and_that_is_said(log):
    said = "pictures are squashed whole to 24 x 24, so that masks lie on them"
    assert any(note.startswith(said) for note in row(log, "crops", "last")["notes"])
    assert not any(note.startswith(said) for note in row(log, "clip", "last")["notes"])


def test_patches_are_of_whole_pictures_and_other_features_of_the_models_own(root, tmp_path):
    labelled = Entry("pasted", tasks=("segmentation", "knn"))
    swept(root, tmp_path, ["crops"], labelled)
    about = [json.loads(file.read_text())["of"] for file in (tmp_path / "vectors").glob("*.json")]
    kept = {of["feature"]: of["preprocess"]["resize"] for of in about}
    assert kept == {"patches": "squash", "pooled": "shortest"}


def test_a_mask_with_other_classes_is_a_row_with_its_reason_and_the_rest_goes_on(root, tmp_path):
    wrong = np.full((30, 30), 9, np.uint8)
    put(
        tmp_path,
        {"pasted/images/a.png": saved_array(wrong), "pasted/masks/a.png": saved_array(wrong)},
    )
    put(tmp_path, {"pasted/classnames.txt": "\n".join(NAMES)})
    both = [entry(), Entry("good", data=str(root / "pasted"), tasks=("segmentation",))]
    found = swept(tmp_path, tmp_path / "out", [str(root / "clip")], *both)
    failed = row(found, "clip", "pasted")["failed"]
    assert "masks/a.png: a pixel must have one of the 4 classes" in failed
    assert "900 have others, up to 9; is classnames.txt whole" in failed
    assert "failed" not in row(found, "clip", "good")


def test_masks_without_a_pixel_that_counts_are_a_row_with_its_reason(root, tmp_path):
    blank = np.full((30, 30), 255, np.uint8)
    put(
        tmp_path,
        {"pasted/images/a.png": saved_array(blank), "pasted/masks/a.png": saved_array(blank)},
    )
    put(tmp_path, {"pasted/classnames.txt": "\n".join(NAMES)})
    found = swept(tmp_path, tmp_path / "out", [str(root / "clip")])
    assert "must have a pixel that counts" in row_of(found)["failed"]


def test_pictures_that_cannot_be_read_are_left_out_and_without_any_other_the_row_says_so(
    root, tmp_path
):
    put(tmp_path, {"pasted/images/a.png": b"<html>", "pasted/classnames.txt": "\n".join(NAMES)})
    put(tmp_path, {"pasted/masks/a.png": saved_array(np.zeros((9, 9), np.uint8))})
    found = swept(tmp_path, tmp_path / "out", [str(root / "clip")])
    assert "pasted must hold a picture that can be read" in row_of(found)["failed"]
    file = root / "pasted/images/p00.png"
    put(tmp_path, {"pasted/images/b.png": file.read_bytes()})
    put(tmp_path, {"pasted/masks/b.png": (root / "pasted/masks/p00.png").read_bytes()})
    again = [*swept(tmp_path, tmp_path / "out2", [str(root / "clip")]).rows.values()][0]
    assert again["counts"]["pictures"] == 1 and "failed" not in again
    assert "pictures left out: image not recognised 1" in again["notes"]


def embedded(out):
    """The features that were made of pictures."""
    about = [json.loads(file.read_text())["of"] for file in (out / "vectors").glob("*.json")]
    return [of["feature"] for of in about if "feature" in of]


def test_pictures_turned_upright_are_refused_before_a_patch_is_embedded(root, tmp_path):
    found = swept(root, tmp_path, ["clip"], rule="upright")
    assert "take --pictures=plain" in row_of(found)["failed"]
    assert not embedded(tmp_path)


def test_a_set_without_masks_is_refused_before_it_is_embedded_and_its_other_tasks_go_on(
    root, tmp_path
):
    both = Entry("e", data="emoji:twemoji", tasks=("segmentation", "retrieval"))
    found = swept(root, tmp_path, ["clip"], both, limit=8)
    assert "no masks; put them beside the pictures" in row_of(found)["failed"]
    assert "failed" not in row_of(found, task="retrieval")
    assert embedded(tmp_path) == ["embedding"]


@pytest.mark.parametrize(
    ("line", "pictures", "said"),
    [
        ('name = "pasted"', "upright", "take --pictures=plain"),
        ('name = "e"\ndata = "emoji:twemoji"', "plain", "no masks; put them beside"),
    ],
)
def test_in_training_both_are_refused_at_the_start(root, tmp_path, line, pictures, said):
    suite = tmp_path / "suite.toml"
    suite.write_text(f'[[set]]\n{line}\ntasks = ["segmentation"]\n')
    name = line.split('"')[1]
    with pytest.raises(ValueError, match=said):
        LiveSet(str(suite), entry=name, data=str(root), pictures=pictures, limit=8)


@pytest.mark.parametrize("precision", ["own", "clip_benchmark", "datacomp"])
def test_other_precisions_are_near(log, root, tmp_path, precision):
    found = row_of(swept(root, tmp_path, ["siglip"], precision=precision))
    value = row(log, "siglip", "last")["metrics"]["pixel_accuracy"]["value"]
    assert found["metrics"]["pixel_accuracy"]["value"] == pytest.approx(value, abs=0.1)


def test_a_setting_that_is_none_is_refused_at_the_start(root, tmp_path):
    with pytest.raises(ValueError, match="tokens must be one of last, values"):
        swept(root, tmp_path, ["clip"], entry(tokens="keys"))


def test_a_sweep_goes_on_and_judges_again_what_has_other_masks(root, tmp_path):
    put(tmp_path, {f"pasted/{p.parent.name}/{p.name}": p.read_bytes()
                   for p in sorted((root / "pasted").glob("*/p0[0-3].png"))})  # fmt: skip
    put(tmp_path, {"pasted/classnames.txt": "\n".join(NAMES)})
    model, out = [str(root / "clip")], tmp_path / "out"

    def lines():
        swept(tmp_path, out, model)
        return (out / "log.jsonl").read_text().splitlines()

    first = lines()
    assert lines() == first and len(first) == 1
    mask = tmp_path / "pasted/masks/p00.png"
    mask.write_bytes(saved_array(np.asarray(Image.open(mask)) * 0))
    again = lines()
    assert len(again) == 2 and again[0] == first[0]
    assert len([*(out / "vectors").glob("*.npy")]) == 1  # pictures are the same


def test_a_model_in_training_is_judged_as_a_sweep_judges_it(log, root, tmp_path):
    suite = tmp_path / "suite.toml"
    suite.write_text('[[set]]\nname = "pasted"\ntasks = ["segmentation"]\n')
    live, run = LiveSet(str(suite), entry="pasted", data=str(root), draws=20), tiny.make_run("clip")
    live.check(run.model)
    now = Live.now(
        LiveRun(run, run.model, run.card, 3, "params"),
        Encoder.from_model(run.model, mesh=make_mesh()),
    )
    result = live.judged(now, store=MemoryStore())
    whole = row(log, "clip", "last")["metrics"]
    assert result["metrics"]["mIoU"] == pytest.approx(whole["mIoU"]["value"], abs=1e-4)
    assert result["rejected"] == 0 and result["chance"]["mIoU"] == whole["mIoU"]["chance"]
    with pytest.raises(ValueError, match="pools by 'queries'"):
        live.check(tiny.make_run("clip", **QUERIES).model)


@pytest.mark.slow
def test_eight_devices_give_the_table_of_one_and_the_page_shows_it(log, root, tmp_path):
    (root / "suite.toml").write_text(
        '[[set]]\nname = "last"\ndata = "pasted"\ntasks = ["segmentation"]\n'
        '[[set]]\nname = "values"\ndata = "pasted"\ntasks = ["segmentation"]\n'
        'settings.segmentation.tokens = "values"\n'
    )
    common = ["sweep", f"--suite={root / 'suite.toml'}", f"--data={root}"]
    models = ["--models", *(str(root / model) for model in KINDS)]
    line, environment = command(*common, *models, "--draws=20", f"--out={tmp_path / 'one'}")
    done = subprocess.run(line, env=os.environ | environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    both = [entry("last"), entry("values", tokens="values")]
    swept(root, tmp_path / "eight", list(KINDS), *both)
    assert table(tmp_path / "eight") == table(tmp_path / "one")
    page = (tmp_path / "one" / "index.html").read_text()
    assert "mIoU" in page and "segmentation" in page
    line, environment = command(*common, "--list")
    listed = subprocess.run(line, env=os.environ | environment, capture_output=True, timeout=300)
    assert "2 of 2 sets are there" in listed.stdout.decode()
