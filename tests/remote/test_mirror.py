"""A run's files are here while it runs, and in the store whenever something depends on them."""

import json

import pytest

from tests.small.stores import Memory
from vlp.parallel.store_lock import StoreLock
from vlp.run.mirror import Mirror, PutUp
from vlp.run.workdir import Workdir
from vlp.training.loop.trackers import JsonLines

CARD = {"tokenizer": {"file": "tokenizer.model"}}


@pytest.fixture
def put(monkeypatch):
    """The names of what is put up."""
    names = []
    opened = Memory._open

    def noted(self, path, mode="rb", **kwargs):
        if "w" in mode:
            names.append(path.removeprefix("/bucket/run/"))
        return opened(self, path, mode, **kwargs)

    monkeypatch.setattr(Memory, "_open", noted)
    return names


def test_what_has_changed_is_put_up_and_nothing_else(gs, put):
    workdir = Workdir(f"{gs}/run")
    with workdir.in_step():
        workdir.config.write_text("{}")
        metrics = JsonLines(workdir.metrics)
        metrics.log(1, {"train/loss": 2.0})
        workdir.put_up()
        assert sorted(put) == ["config.json", "metrics.jsonl"]
        put.clear()
        metrics.log(2, {"train/loss": 1.5})
        (workdir.path / ".metrics.jsonl.1234.partial").touch()
        (workdir.path / "wandb").mkdir()
        (workdir.path / "wandb" / "log").touch()
        workdir.results.mkdir()
        (workdir.results / "same.json").write_text("{}")
        workdir.put_up()
        assert sorted(put) == ["metrics.jsonl", "results/same.json"]
        metrics.close()
        put.clear()
    assert put == []


def test_a_run_that_goes_on_finds_its_files_and_continues_its_metrics(gs, put):
    first = Workdir(f"{gs}/run")
    with first.in_step():
        first.config.write_text('{"seed": 0}')
        metrics = JsonLines(first.metrics)
        for step in (1, 2, 3):
            metrics.log(step, {"train/loss": float(step)})
        metrics.close()
    second = Workdir(f"{gs}/run")
    assert second.path != first.path and not second.config.exists()
    put.clear()
    with second.in_step():
        assert second.begun and second.read_config() == {"seed": 0}
        metrics = JsonLines(second.metrics, resume_step=2)
        metrics.log(3, {"train/loss": 0.5})
        metrics.close()
    assert put == ["metrics.jsonl"]
    rows = (second.address / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["train/loss"] for row in rows] == [1.0, 2.0, 0.5]


def test_a_start_that_fails_before_its_first_step_leaves_the_store_as_it_was(gs):
    workdir = Workdir(f"{gs}/run")
    with workdir.in_step():
        workdir.config.write_text('{"seed": 0}')
        workdir.metrics.write_text('{"step": 1}\n')
    again = Workdir(f"{gs}/run")
    with (
        pytest.raises(MemoryError),
        again.in_step(),
        again.unchanged_unless_a_step_is_taken(),
    ):
        again.config.write_text('{"seed": 1}')
        again.put_up()
        raise MemoryError
    assert json.loads((again.address / "config.json").read_text()) == {"seed": 0}


def test_a_folder_of_a_store_with_other_files_is_no_workdir(gs):
    workdir = Workdir(f"{gs}/run")
    (workdir.address / "somebody.tar").write_text("")
    with workdir.in_step(), pytest.raises(ValueError, match="gs://bucket/run holds other files"):
        workdir.check({}, accept_changes=False, must_exist=False)
    with workdir.in_step(), pytest.raises(ValueError, match="--resume needs a run"):
        workdir.check({}, accept_changes=False, must_exist=True)
    assert isinstance(workdir.lock(), StoreLock)


def test_metrics_are_put_up_now_and_then_and_a_store_that_is_away_is_said(gs, put, caplog):
    workdir = Workdir(f"{gs}/run")
    mirror = Mirror(workdir.address)
    tracker = PutUp(mirror, seconds=0.0)
    (mirror.folder / "metrics.jsonl").write_text("1")
    tracker.log(1, {})
    tracker.close()
    assert put == ["metrics.jsonl"]

    def away():
        raise OSError("503")

    mirror.put_up = away
    tracker.log(2, {})
    tracker.close()
    assert "metrics could not be put up: 503; trying again later" in caplog.text
    patient = PutUp(mirror, seconds=3600.0)
    patient.log(1, {})
    patient.close()
