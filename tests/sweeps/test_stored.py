"""Stored vectors are judged as the model is that made them, on the data that they are of."""

import json

import pytest

from tests.small.runs import write_pairs
from tests.sweeps.small_sweep import made
from vlp.cli.main import main
from vlp.sweeps.bars import Bars
from vlp.sweeps.entry import Entry
from vlp.sweeps.log import Log
from vlp.sweeps.models import expand
from vlp.sweeps.plan import Plan
from vlp.sweeps.stored import Stored
from vlp.sweeps.work import Sweep


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model, pairs, and their vectors."""
    root = made(tmp_path_factory.mktemp("made"))
    data = write_pairs(root / "pairs.tar", replace={"red-dot-0.png": b"<html>"})
    model, out = root / "model", root / "vectors"
    assert main(["embed", f"--model={model}", f"--data={data}", f"--out={out}"]) == 0
    return root


def rows(root, out, *models, **others):
    """What a sweep says of models, by model and task."""
    entries = [
        Entry("pairs", data=str(root / "pairs.tar"), captions="first", layout="data",
              label="kind", tasks=("retrieval", "classification")),
        Entry("others", data=str(root / "wds_retrieval_test" / "test" / "0.tar"), layout="data"),
    ]  # fmt: skip
    out.mkdir()
    log = Log(out / "log.jsonl")
    plan = Plan(expand(models), entries, out, rule="upright", draws=20, **others)
    with Bars() as bars:
        Sweep(plan, log, bars=bars).carry_out()
    return {(row["model"], row["set"], row["task"]): row for row in log.rows.values()}


@pytest.mark.parametrize("limit", [0, 20])
def test_they_have_the_scores_of_the_model(folders, tmp_path, limit):
    model, stored = str(folders / "model"), f"vectors:{folders / 'vectors'}"
    found = rows(folders, tmp_path / "out", model, stored, limit=limit)
    one, other = (found[name, "pairs", "retrieval"] for name in (model, stored))
    assert other["counts"] == one["counts"]
    for name, value in one["metrics"].items():
        assert other["metrics"][name] == pytest.approx(value, abs=1e-6), name
    assert any("stored vectors" in note for note in other["notes"])


def test_those_of_augmentations_are_refused(tmp_path):
    manifest = dict(format=1, dim=8, samples=0, shard_size=1, views=dict(count=2, seed=0))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (ref,) = expand([f"vectors:{tmp_path}"])
    with pytest.raises(ValueError, match="run vlp embed without --views"):
        Stored.of(ref)


def test_what_they_cannot_do_is_a_row_that_says_so(folders, tmp_path):
    stored = f"vectors:{folders / 'vectors'}"
    found = rows(folders, tmp_path / "out", stored)
    said = found[stored, "pairs", "classification"]["failed"]
    assert "has stored vectors alone" in said and "give the model" in said
    assert (
        "not those of others; run vlp embed on it" in found[stored, "others", "retrieval"]["failed"]
    )


def test_a_folder_that_is_none_is_said(folders, tmp_path):
    found = rows(folders, tmp_path / "out", f"vectors:{folders / 'model'}")
    assert all(
        "folder of embeddings must hold manifest.json" in r["failed"] for r in found.values()
    )
