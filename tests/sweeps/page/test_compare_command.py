"""`vlp sweep --compare`: what it prints and writes of a finished sweep, and what it refuses."""

import io
import json

import pytest
from made_sweep import made_sweep
from rich.console import Console

from vlp.cli.main import main
from vlp.sweeps.compare import compare
from vlp.sweeps.log import Log
from vlp.sweeps.page.differences import print_comparison, signed
from vlp.sweeps.samples import SampleStore


@pytest.fixture
def finished(tmp_path):
    """A folder of a finished sweep of two models at two steps on two sets."""
    rows, _ = made_sweep(SampleStore(tmp_path / "samples"), models=2, sets=2, steps=2)
    log = Log(tmp_path / "log.jsonl")
    for row in rows:
        log.append(row)
    return tmp_path


def test_the_last_steps_are_compared_and_written(finished, capsys):
    flags = ["--compare", "model-1", "model-0@10", "--draws", "50"]
    assert main(["sweep", *flags, "--out", str(finished)]) == 0
    written = json.loads((finished / "compare.json").read_text())
    assert written["draws"] == 50
    assert written["models"] == {
        "model-1@20": "runs/model-1@20", "model-0@10": "runs/model-0@10",
    }  # fmt: skip
    metrics = {each["metric"]: each for each in written["differences"]}
    assert set(metrics) == {
        "top1", "image_to_text/R@1", "image_to_text/R@5", "text_to_image/R@1", "text_to_image/R@5",
    }  # fmt: skip
    top1 = metrics["top1"]
    assert top1["difference"] == pytest.approx(top1["values"][0] - top1["values"][1])
    assert top1["difference"] == pytest.approx((top1["wins"] - top1["losses"]) / 60)
    said = capsys.readouterr().out
    assert "model-1@20 and model-0@10" in said and "objects-0" in said
    assert "model-1@20" in (finished / "compare.html").read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--compare", "model-1"], "two models or more"),
        (["--compare", "model-1", "runs/model-1@20"], "different models"),
        (["--compare", "model-1", "other"], "none of them"),
        (["--compare", "model-1", "model-0", "--draws", "0"], "--draws of 1 or more"),
        (["--compare", "model-1", "model-0", "--suite", "emoji"], "leave out --suite"),
        (["--compare", "model-1", "model-0", "--list"], "leave out --list"),
    ],
)
def test_what_cannot_be_compared_is_refused(finished, flags, said, capsys):
    assert main(["sweep", *flags, "--out", str(finished)]) != 0
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (finished / "compare.json").exists()


@pytest.mark.parametrize(
    "flag",
    [
        "--data=d", "--limit=5", "--templates=clip7", "--classes=imagenet1k", "--pictures=upright",
        "--precision=own", "--template-draws=7", "--vectors=v", "--models-at-once=1",
        "--threads=99", "--weights=ema", "--export=datacomp", "--num-processes=2",
    ],
)  # fmt: skip
def test_a_flag_that_a_comparison_does_not_read_is_refused(finished, flag, capsys):
    flags = ["--compare", "model-1", "model-0", "--out", str(finished), flag]
    assert main(["sweep", *flags]) != 0
    said = f"leave out {flag.partition('=')[0]}"
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (finished / "compare.json").exists()


def test_a_comparison_changes_nothing_of_a_log_that_a_sweep_writes_just_now(finished):
    log = finished / "log.jsonl"
    half = log.read_bytes() + b'{"format": 1, "ke'
    log.write_bytes(half)
    assert main(["sweep", "--compare", "model-1", "model-0", "--out", str(finished)]) == 0
    assert log.read_bytes() == half


def test_a_folder_without_a_sweep_is_refused(tmp_path, capsys):
    assert main(["sweep", "--compare", "a", "b", "--out", str(tmp_path)]) != 0
    assert "log.jsonl" in capsys.readouterr().err


def test_a_sweep_needs_a_suite(capsys):
    assert main(["sweep", "--models", "a", "--out", "b"]) != 0
    assert "needs --suite" in capsys.readouterr().err


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits_the_terminal(finished, width):
    rows = list(Log(finished / "log.jsonl").rows.values())
    store = SampleStore(finished / "samples")
    first, other = ("runs/model-1", 20), ("runs/model-0", 20)
    found = compare(rows, store, first=first, others=[other], draws=20)
    text = io.StringIO()
    print_comparison(found, console=Console(file=text, width=width))
    assert max(map(len, text.getvalue().splitlines())) <= width
    assert signed("top1", found.differences[0].difference) in text.getvalue()


def test_differences_have_their_sign_and_points():
    assert signed("captions/CIDEr", -0.25) == "−0.25"
    assert signed("top1", 1e-9) == "0.00"
