"""`vlp sweep` beside `clip_benchmark eval`, on the same files by the same weights, in float32.

Other seeds make other sets: VLP_SWEEP_SEEDS="4 5 6" make test-sweeps.
"""

import csv
import gc
import os
import sys
import warnings

import numpy as np
import open_clip
import pytest
import torch
from clip_benchmark import cli
from PIL import Image

from tests.sweep_peers.made_sets import classification_set, multilabel_set, retrieval_set
from tests.sweep_peers.side_by_side import assert_agree, decided_by_ties, ours, theirs

SEEDS = [int(seed) for seed in os.environ.get("VLP_SWEEP_SEEDS", "3 9").split()]
MODELS = ("clip", "siglip")
KS = (1, 5, 10)
REFERENCE = 'ties = "reference"'
CLASSIFICATION = {
    "acc1": "top1",
    "acc5": "top5",
    "mean_per_class_recall": "mean_per_class_recall",
}
RETRIEVAL = {
    f"{theirs}_retrieval_recall@{k}": f"{ours}/R@{k}"
    for theirs, ours in (("image", "text_to_image"), ("text", "image_to_text"))
    for k in KS
}

both = pytest.mark.parametrize("model", MODELS)
seeded = pytest.mark.parametrize("seed", SEEDS)


@both
@seeded
def test_classification_gives_their_numbers(model, seed, request, tmp_path):
    folder = request.getfixturevalue(model)
    made = classification_set(tmp_path / "sets" / "classified", seed=seed)
    found, row = theirs(folder, made, tmp_path, "--no_amp"), ours(folder, made, tmp_path)
    for name, metric in CLASSIFICATION.items():
        if np.isnan(found[name]):
            assert made.classes < 5 and metric not in row["metrics"]
        else:
            assert_agree(row, metric, found[name])
    if made.classes > 2:  # two may have one name
        assert decided_by_ties(row, "top1") < 0.9, "too little to compare"


@both
@seeded
def test_several_labels_give_their_numbers(model, seed, request, tmp_path):
    folder = request.getfixturevalue(model)
    made = multilabel_set(tmp_path / "sets" / "labelled", seed=seed)
    found = theirs(folder, made, tmp_path, "--no_amp")
    row = ours(folder, made, tmp_path, task="multilabel")
    assert_agree(row, "mAP", found["mean_average_precision"])


@both
@seeded
def test_retrieval_gives_their_numbers(model, seed, request, tmp_path):
    folder = request.getfixturevalue(model)
    made = retrieval_set(tmp_path / "sets" / "captioned", seed=seed)
    more = ("--no_amp", "--recall_k", *map(str, KS))
    found = theirs(folder, made, tmp_path, *more, task="zeroshot_retrieval")
    row = ours(folder, made, tmp_path, task="retrieval")
    for name, metric in RETRIEVAL.items():
        assert_agree(row, metric, found[name])
    without = sum(not text for text in made.members)
    assert row["counts"]["without_caption"] == without
    assert any("pictures without captions" in note for note in row["notes"]) == bool(without)


@both
def test_pictures_of_every_kind_have_their_embeddings(model, request, tmp_path):
    folder = request.getfixturevalue(model)
    made = classification_set(tmp_path / "sets" / "classified", seed=7)
    row = ours(folder, made, tmp_path)
    (kept,) = (tmp_path / "out" / "vectors").glob("*.npy")
    embeddings = np.load(kept, allow_pickle=False)
    peer, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = torch.stack([transform(picture) for picture in _decoded(made)])
        wanted = peer.eval().encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(embeddings, wanted, atol=1e-5)
    assert any("read as the benchmarks' programs read them" in note for note in row["notes"])


def test_ties_among_classes_as_the_reference_decides_them(clip, tmp_path):
    made = classification_set(tmp_path / "sets" / "classified", seed=12)
    names = made.root / "classnames.txt"
    names.write_text("".join(f"class {number // 3}\n" for number in range(made.classes)))
    found = theirs(clip, made, tmp_path, "--no_amp")
    row = ours(clip, made, tmp_path, settings=REFERENCE)
    assert decided_by_ties(row, "top1") > 0
    _assert_decided(row, CLASSIFICATION, found)


def test_ties_among_captions_as_the_reference_decides_them(clip, tmp_path):
    made = retrieval_set(tmp_path / "sets" / "captioned", seed=12, known=1.0)
    more = ("--no_amp", "--recall_k", *map(str, KS))
    found = theirs(clip, made, tmp_path, *more, task="zeroshot_retrieval")
    row = ours(clip, made, tmp_path, task="retrieval", settings=REFERENCE)
    assert decided_by_ties(row, "image_to_text/R@10") > 0
    assert decided_by_ties(row, "text_to_image/R@10") > 0
    _assert_decided(row, RETRIEVAL, found)


def test_with_autocast_they_differ_by_a_few_pictures(clip, tmp_path):
    made = classification_set(tmp_path / "sets" / "classified", seed=9)
    found = theirs(clip, made, tmp_path)
    row = ours(clip, made, tmp_path, "--precision", "clip_benchmark", settings=REFERENCE)
    assert (row["dtype"], row["settings"]["precision"]) == ("bfloat16", "clip_benchmark")
    value = row["metrics"]["top1/as_clip_benchmark"]["value"]
    assert value == pytest.approx(found["acc1"], abs=4 / made.count)


@pytest.mark.filterwarnings("ignore")  # it leaves files open
def test_clip_benchmark_builds_its_table_of_what_a_sweep_exports(clip, tmp_path, monkeypatch):
    made = classification_set(tmp_path / "sets" / "classified", seed=3)
    row = ours(clip, made, tmp_path, "--export", "clip_benchmark", "datacomp")
    folder, table = tmp_path / "out" / "export" / "clip_benchmark", tmp_path / "table.csv"
    line = ["clip_benchmark", "build", str(folder), "--output", str(table)]
    monkeypatch.setattr(sys, "argv", line)
    cli.main()
    gc.collect()  # with its files, while that is not minded
    (found,) = csv.DictReader(table.open())
    assert float(found["acc1"]) == row["metrics"]["top1"]["value"]
    assert (found["dataset"], found["task"]) == ("classified", "zeroshot_classification")


def _assert_decided(row, named, found):
    """The scores by their rule are theirs."""
    for name, metric in named.items():
        value = row["metrics"][f"{metric}/as_clip_benchmark"]["value"]
        assert value == pytest.approx(found[name], abs=1e-6), metric


def _decoded(made):
    """The pictures as webdataset decodes them for clip_benchmark."""
    import webdataset

    tars = sorted((made.root / "test").glob("*.tar"), key=lambda tar: int(tar.stem))
    data = webdataset.WebDataset(list(map(str, tars)), shardshuffle=False).decode("pil")
    pictures = [row[0] for row in data.to_tuple(["webp", "png", "jpg"])]
    assert all(isinstance(picture, Image.Image) for picture in pictures)
    return pictures
