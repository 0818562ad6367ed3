"""Rows are written once, whole, and readable to the bit; a failing tracker stops nothing."""

import json
import logging
import sys

import numpy as np
import pytest

from vlp.training.trackers import JsonLines, Progress, TensorBoard, Trackers, WeightsAndBiases


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_floats_read_back_to_the_bit_and_non_finite_ones_as_null(tmp_path):
    values = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    lines = JsonLines(tmp_path / "new" / "metrics.jsonl")
    for step, value in enumerate(values, start=1):
        lines.log(step, {"train/loss": float(value), "grad/l2": float("inf")})
    lines.close()
    got = rows(tmp_path / "new" / "metrics.jsonl")
    np.testing.assert_array_equal(np.float32([row["train/loss"] for row in got]), values)
    assert got[0] == {"step": 1, "train/loss": float(values[0]), "grad/l2": None}


@pytest.mark.parametrize("torn", [b"", b'{"step": 5, "x"', b"\xff\x00", b'{"step": 3}'])
def test_a_resumed_file_holds_every_step_once(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(b'{"step": %d}\n' % step for step in (1, 2, 3, 4)) + torn)
    lines = JsonLines(path, resume_step=2)
    lines.log(3, {})
    lines.close()
    assert [row["step"] for row in rows(path)] == [1, 2, 3]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_fresh_run_begins_an_empty_file(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"step": 1}\n')
    JsonLines(tmp_path / "m.jsonl").close()
    assert (tmp_path / "m.jsonl").read_text() == ""


def test_a_tracker_that_fails_is_reported_once_and_left_out(tmp_path, caplog):
    class Broken:
        def log(self, step, row):
            raise OSError("disk full")

        def close(self):
            raise AssertionError("not reached")

    lines = JsonLines(tmp_path / "m.jsonl")
    trackers = Trackers([Broken(), lines])
    with caplog.at_level(logging.WARNING, "vlp"):
        for step in (1, 2):
            trackers.log(step, {})
        trackers.close()
    assert [row["step"] for row in rows(tmp_path / "m.jsonl")] == [1, 2]
    assert caplog.text.count("Broken failed and is left out") == 1


def test_tensorboard_gets_the_scalars(tmp_path):
    board = TensorBoard(tmp_path)
    board.log(1, {"train/loss": 1.5})
    board.close()
    (events,) = tmp_path.iterdir()
    assert b"train/loss" in events.read_bytes()


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r'pip install "vlp\[wandb\]"'):
        WeightsAndBiases(project="p", run_id="r")


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys):
    progress = Progress(3, seconds=1000.0)
    for step in (1, 2, 3):
        progress.log(step, {"train/loss": 2.0, "perf/pairs_per_s": 1234.5})
    progress.close()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[-1] == "step 3/3  loss 2.0000  1,234 pairs/s  0:00:00 left"


def test_on_a_terminal_progress_is_a_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    progress = Progress(3)
    progress.log(3, {"train/loss": 2.0})
    progress.close()
    assert "3/3" in capsys.readouterr().out
