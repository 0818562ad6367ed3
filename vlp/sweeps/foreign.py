"""The scores of a sweep in the files of other programs, so that their own scripts read them.

    export/clip_benchmark/{dataset}_{pretrained}_{model}_{language}_{task}.json
    export/datacomp/{model}/eval_results.jsonl

The first are for `clip_benchmark build`, the second for DataComp's aggregate_scores.py. Ties are as
in the sweep: lost, or as the reference decides them where the task was given `ties = "reference"`.

References:
    https://github.com/LAION-AI/CLIP_benchmark, clip_benchmark/cli.py;
    https://github.com/mlfoundations/datacomp, evaluate.py and tasklist.yml.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlp.files import write_json, write_text
from vlp.sweeps.entry import Entry
from vlp.sweeps.names import titled
from vlp.sweeps.table import current

CLIP_BENCHMARK, DATACOMP = "clip_benchmark", "datacomp"
FORMATS = (CLIP_BENCHMARK, DATACOMP)
FOLDER = "export"
_REFERENCE = "/as_clip_benchmark"
_UNFIT = re.compile(r"[^\w.@+-]+")  # in the name of a file
_CLASSES = {"top1": "acc1", "top5": "acc5", "mean_per_class_recall": "mean_per_class_recall"}
_RECALLS = {
    f"{way}/R@{k}": f"{name}_retrieval_recall@{k}"
    for way, name in (("text_to_image", "image"), ("image_to_text", "text"))
    for k in (1, 5, 10)
}
# Their names of tasks, and of the metrics of ours.
_TASKS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "classification": ("zeroshot_classification", _CLASSES),
    "multilabel": ("zeroshot_classification", {"mAP": "mean_average_precision"}),
    "retrieval": ("zeroshot_retrieval", _RECALLS),
    "pairs": (
        "image_caption_selection",
        {"image_score": "image_acc", "text_score": "text_acc", "group_score": "acc"},
    ),
    "linear_probe_adamw": (
        "linear_probe",
        {name: f"lp_{theirs}" for name, theirs in _CLASSES.items()},
    ),
}
_WITH_GROUPS = {"macro_f1": "F1-macro_all", "worst_region/top1": "acc_worst_region"}
_JACCARD = {"jaccard": "avg_jaccard_score"} | {
    f"{count}/jaccard": f"jaccard_score_{count}" for count in ("5", "6", "10", "12", "5-6", "10-12")
}
_DATACOMP: Mapping[str, Mapping[str, str]] = {
    "classification": _CLASSES | _WITH_GROUPS,
    "retrieval": _RECALLS | {"mean/R@1": "mean_recall@1"},
    "associations": _JACCARD,
    "faces": {},
}
# What some of its sets call the worst of their groups.
_WORST = {
    "wilds/camelyon17": {"worst_slide/top1": "acc_wg"},
    "fairness/dollar_street": {"worst_income_ds/top5": "acc_top5_wg"},
    "fairness/geode": {"worst_region/top1": "acc_wg"},
}


def write_foreign(
    folder: Path,
    rows: Iterable[Mapping[str, Any]],
    *,
    entries: Sequence[Entry],
    keys: Collection[str],
    formats: Sequence[str],
) -> list[str]:
    """Writes the scores of a sweep that other programs have a name for.

    Args:
        folder: of the sweep; they lie in its `export`.
        rows: of its log.
        entries: the sets of the sweep.
        keys: of the rows that it asked for, which are written.
        formats: "clip_benchmark", "datacomp".

    Returns:
        Sentences on what was written, and on what was not.
    """
    by_name = {entry.name: entry for entry in entries}
    every = list(rows)
    own = current(row for row in every if row["key"] in keys)
    good = [row for row in own if "failed" not in row]
    others = sum(row["key"] not in keys for row in current(every))
    said = []
    for name in formats:
        write = {CLIP_BENCHMARK: _write_clip_benchmark, DATACOMP: _write_datacomp}[name]
        place = folder / FOLDER / name
        done = write(place, good, by_name)
        said.append(
            f"{done:,} rows for {name} in {place}; {len(good) - done:,} are of tasks it does not "
            f"have, {len(own) - len(good):,} failed, {others:,} of this folder are of other "
            "models, sets or protocols"
        )
    return said


def _write_clip_benchmark(
    folder: Path, rows: Sequence[Mapping[str, Any]], entries: Mapping[str, Entry]
) -> int:
    done = 0
    for row in rows:
        if row["task"] not in _TASKS:
            continue
        task, names = _TASKS[row["task"]]
        entry = entries[row["set"]]
        about = {
            "dataset": entry.published or entry.name,
            "model": row["model"],
            "pretrained": "none" if row["step"] is None else f"step_{row['step']}",
            "task": task,
            "metrics": _metrics(row, names),
            "language": entry.language,
        }
        parts = ("dataset", "pretrained", "model", "language", "task")
        name = "_".join(_UNFIT.sub("_", str(about[part])) for part in parts)
        write_json(folder / f"{name}.json", about)
        done += 1
    return done


def _write_datacomp(
    folder: Path, rows: Sequence[Mapping[str, Any]], entries: Mapping[str, Entry]
) -> int:
    lines: dict[str, list[str]] = {}
    for row in rows:
        if row["task"] not in _DATACOMP:
            continue
        key = entries[row["set"]].published or row["set"]
        names = {**_DATACOMP[row["task"]], **_WORST.get(key, {})}
        if row["task"] == "faces":
            names = {name: name for name in row["metrics"]}
        main = _values(row).get(row["main"])
        metrics = _metrics(row, names) | {"main_metric": main}
        about = {"key": key, "dataset": row["set"], "metrics": metrics}
        model = titled(row["model"], row["step"])
        lines.setdefault(model, []).append(json.dumps(about) + "\n")
    for model, own in lines.items():
        write_text(folder / _UNFIT.sub("_", model) / "eval_results.jsonl", "".join(own))
    return sum(map(len, lines.values()))


def _metrics(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float | None]:
    """By their names; top-5 is theirs without a value where there are fewer classes."""
    values = _values(row)
    found = {theirs: values[own] for own, theirs in names.items() if own in values}
    if "top1" in names and "top5" not in values:
        found[names["top5"]] = None
    return found


def _values(row: Mapping[str, Any]) -> dict[str, float | None]:
    """The metrics of a row, ties decided as the reference does where that was asked."""
    values = {name: scores["value"] for name, scores in row["metrics"].items()}
    decided = {
        name.removesuffix(_REFERENCE): value
        for name, value in values.items()
        if name.endswith(_REFERENCE)
    }
    return values | decided
