"""Both programs on the same model and set, by their own command lines."""

import contextlib
import io
import json
import sys
import warnings

import pytest
from clip_benchmark import cli

from vlp.cli.main import main


def theirs(model, made, folder, *more, task="zeroshot_classification"):
    """The metrics that `clip_benchmark eval` writes."""
    out = folder / f"{task}_{len(more)}.json"
    line = ["clip_benchmark", "eval", "--model", f"local-dir:{model}", "--pretrained", "none"]
    line += ["--dataset", f"wds/{made.root.name}", "--dataset_root", str(made.root)]
    line += ["--task", task, "--output", str(out), "--num_workers", "0", "--quiet", *more]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(sys, "argv", line)
        with contextlib.redirect_stderr(io.StringIO()):
            cli.main()
    return json.loads(out.read_text())["metrics"]


def ours(model, made, folder, *more, task="classification", settings=""):
    """The row of the log that `vlp sweep` writes."""
    suite = folder / "suite.toml"
    suite.write_text(
        f'[[set]]\nname = "{made.root.name}"\ntasks = ["{task}"]\n'
        f"[set.settings.{task}]\n{settings}\n"
    )
    out = folder / "out"
    line = ["sweep", "--models", f"open_clip:{model}", "--suite", str(suite), "--draws", "0"]
    line += ["--data", str(made.root.parent), "--out", str(out), "--threads", "1", *more]
    assert main(line) == 0
    (*_, row) = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    assert "failed" not in row, row["failed"]
    return row


def decided_by_ties(row, metric):
    """By how much ties can change a metric."""
    found = row["metrics"][metric]
    return found["if_ties_hit"] - found["value"]


def assert_agree(row, metric, value, *, tolerance=1e-6):
    """Their value is ours, or lies between ours with every tie lost and with every tie won."""
    found = row["metrics"][metric]
    low, high = found["value"], found["if_ties_hit"]
    assert low - tolerance <= value <= high + tolerance, (metric, low, value, high)
