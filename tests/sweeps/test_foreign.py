"""The scores of a sweep in the files of clip_benchmark and DataComp."""

import json

import pytest

from vlp.sweeps.foreign import write_foreign
from vlp.sweeps.suites import read_suite

SETTINGS = {"pictures": "plain", "limit": 0, "precision": "fp32"}


def row(name, task, metrics, **more):
    """A row of a log."""
    common = {"model": "runs/a b", "step": 40, "set": name, "task": task, "settings": SETTINGS}
    if name == "Flickr":
        common["settings"] = SETTINGS | {"mean": True}  # as the suite has it
    scores = {name: {"value": value} for name, value in metrics.items()}
    return common | {"metrics": scores, "main": next(iter(metrics), ""), "key": name} | more


@pytest.fixture(scope="module")
def entries():
    return read_suite("datacomp38")


def exported(folder, rows, entries, program, *, keys=()):
    """What is said of an export of rows, all of which were asked for unless some are named."""
    wanted = keys or {row["key"] for row in rows}
    return write_foreign(folder, rows, entries=entries, keys=wanted, formats=[program])


def test_clip_benchmark_s_files_have_its_names_and_keys(entries, tmp_path):
    rows = [
        row("CIFAR-10", "classification", {"top1": 0.5, "top5": 0.9, "mean_per_class_recall": 0.4}),
        row("PatchCamelyon", "classification", {"top1": 0.5, "mean_per_class_recall": 0.4}),
        row("Flickr", "retrieval", {"image_to_text/R@1": 0.1, "text_to_image/R@5": 0.2}),
        row("WinoGAViL", "associations", {"10-12/jaccard": 0.3}),
        row("MNIST", "classification", {}, failed="gone"),
    ]
    (said,) = exported(tmp_path, rows, entries, "clip_benchmark")
    assert said.startswith("3 rows for clip_benchmark")
    assert "1 are of tasks it does not have, 1 failed" in said
    folder = tmp_path / "export" / "clip_benchmark"
    found = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
    one = found["cifar10_step_40_runs_a_b_en_zeroshot_classification.json"]
    assert one == {
        "dataset": "cifar10",
        "model": "runs/a b",
        "pretrained": "step_40",
        "task": "zeroshot_classification",
        "metrics": {"acc1": 0.5, "acc5": 0.9, "mean_per_class_recall": 0.4},
        "language": "en",
    }
    few = found["vtab_pcam_step_40_runs_a_b_en_zeroshot_classification.json"]
    assert few["metrics"]["acc5"] is None
    (captioned,) = (each for each in found.values() if each["task"] == "zeroshot_retrieval")
    assert captioned["metrics"] == {
        "text_retrieval_recall@1": 0.1,
        "image_retrieval_recall@5": 0.2,
    }


def test_datacomp_s_lines_have_the_main_metric_of_each_set(entries, tmp_path):
    rows = [
        row("CIFAR-10", "classification", {"top1": 0.5}),
        row("FMoW", "classification", {"worst_region/top1": 0.1, "top1": 0.2}),
        row("FairFace", "faces", {"acc_race": 0.3}, main=""),
    ]
    rows[1]["settings"] = SETTINGS | {"group": "region"}
    settings = next(e for e in entries if e.name == "FairFace").settings["faces"]
    rows[2]["settings"] = SETTINGS | settings
    exported(tmp_path, rows, entries, "datacomp")
    file = tmp_path / "export" / "datacomp" / "runs_a_b@40" / "eval_results.jsonl"
    lines = {line["key"]: line for line in map(json.loads, file.read_text().splitlines())}
    assert lines["cifar10"]["dataset"] == "CIFAR-10"
    assert lines["cifar10"]["metrics"] == {"acc1": 0.5, "acc5": None, "main_metric": 0.5}
    assert lines["wilds/fmow"]["metrics"]["main_metric"] == 0.1
    assert lines["wilds/fmow"]["metrics"]["acc_worst_region"] == 0.1
    assert lines["fairness/fairface"]["metrics"] == {"acc_race": 0.3, "main_metric": None}


def test_rows_of_other_settings_or_protocols_are_not_this_sweep_s(entries, tmp_path):
    rows = [
        row("CIFAR-10", "classification", {"top1": 0.5}, key="mine"),
        row("CIFAR-10", "classification", {"top1": 0.9}, settings=SETTINGS | {"limit": 10}),
        row("CIFAR-10", "classification", {"top1": 0.8}, key="by other prompts"),
    ]
    (said,) = exported(tmp_path, rows, entries, "clip_benchmark", keys={"mine"})
    assert "1 rows for" in said and "2 of this folder are of other models, sets or" in said
    (file,) = (tmp_path / "export" / "clip_benchmark").iterdir()
    assert json.loads(file.read_text())["metrics"]["acc1"] == 0.5


def test_ties_as_the_reference_decides_them_go_out_where_they_are_known(entries, tmp_path):
    scores = {"top1": 0.5, "top1/as_clip_benchmark": 0.6}
    exported(tmp_path, [row("CIFAR-10", "classification", scores)], entries, "datacomp")
    file = tmp_path / "export" / "datacomp" / "runs_a_b@40" / "eval_results.jsonl"
    assert json.loads(file.read_text())["metrics"]["acc1"] == 0.6
