"""Rows are written once, whole, and readable to the bit; a failing tracker stops nothing."""

import json
import logging
import sys
import types

import numpy as np
import pytest

from vlp.training.loop.trackers import JsonLines, TensorBoard, Trackers, WeightsAndBiases, begin


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


def test_a_run_on_wandb_has_its_identity_and_a_name_to_read(monkeypatch):
    given = {}
    wandb = types.SimpleNamespace(init=lambda **settings: given.update(settings))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    WeightsAndBiases(project="p", run_id="b16-0123", name="jan/b16")
    assert (given["id"], given["name"], given["resume"]) == ("b16-0123", "jan/b16", "allow")


def test_a_tracker_that_cannot_be_made_is_reported_and_left_out(tmp_path, caplog):
    def broken():
        raise RuntimeError("no network")

    made = begin(broken, lambda: JsonLines(tmp_path / "m.jsonl"))
    assert [type(tracker) for tracker in made] == [JsonLines]
    made[0].close()
    assert "training goes on without a tracker" in caplog.text and "no network" in caplog.text


@pytest.mark.parametrize("torn", [b"", b'{"step": 2, "trai'])
def test_lines_that_a_full_disk_refused_are_written_later_in_their_place(tmp_path, caplog, torn):
    lines = JsonLines(tmp_path / "m.jsonl")
    lines.log(1, {})
    disk, lines._file = lines._file, FullDisk(lines._file, torn)
    lines.log(2, {})
    lines.log(3, {})
    assert caplog.text.count("cannot be written") == 1
    lines._file = disk
    lines.log(4, {"train/loss": 0.5})
    lines.close()
    assert rows(tmp_path / "m.jsonl") == [
        {"step": 1}, {"step": 2}, {"step": 3}, {"step": 4, "train/loss": 0.5},
    ]  # fmt: skip


class FullDisk:
    """A file of which only so much can be written."""

    def __init__(self, file, torn):
        self._file, self._torn = file, torn

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        self._file.write(self._torn)
        raise OSError(28, "No space left on device")
