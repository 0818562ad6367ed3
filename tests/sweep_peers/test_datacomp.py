"""`vlp sweep` beside what DataComp's own programs said of the same made sets."""

import json
from pathlib import Path

import pytest

from tests.sweep_peers.datacomp_numbers import SEEDS
from tests.sweep_peers.made_sets import classification_set
from tests.sweep_peers.side_by_side import assert_agree, ours

KEPT = json.loads((Path(__file__).parent / "datacomp_numbers.json").read_text())["metrics"]
NAMES = {"acc1": "top1", "acc5": "top5", "mean_per_class_recall": "mean_per_class_recall"}


@pytest.mark.parametrize("model", ["clip", "siglip"])
@pytest.mark.parametrize("seed", SEEDS)
def test_in_float32_the_numbers_are_its(model, seed, request, tmp_path):
    made = classification_set(tmp_path / f"wds_set{seed}_test", seed=seed)
    row = ours(request.getfixturevalue(model), made, tmp_path)
    theirs = KEPT[f"{model}/{seed}/fp32"]
    for name, metric in NAMES.items():
        if theirs[name] is None:
            assert metric not in row["metrics"]
        else:
            assert_agree(row, metric, theirs[name])


def test_with_its_precision_they_differ_by_a_few_pictures(clip, tmp_path):
    made = classification_set(tmp_path / "wds_set9_test", seed=9)
    row = ours(clip, made, tmp_path, "--precision", "datacomp")
    assert (row["dtype"], row["settings"]["precision"]) == ("float32, bfloat16", "datacomp")
    theirs = KEPT["clip/9/autocast"]["acc1"]
    assert row["metrics"]["top1"]["value"] == pytest.approx(theirs, abs=4 / made.count)
