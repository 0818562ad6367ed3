"""A run's folder after a start that failed: as it was, and free for the next one."""

import errno
import json
from types import SimpleNamespace

import pytest

from vlp.run.workdir import Workdir

CARD = {"tokenizer": {"file": "tokenizer.model"}}


@pytest.fixture
def run(tmp_path):
    """The folder of a run that took a step."""
    workdir = Workdir(tmp_path)
    workdir.config.write_text('{"seed": 0}')
    (tmp_path / "card.json").write_text('{"model": "old"}')
    workdir.metrics.write_text('{"step": 1}\n{"step": 2}\n')
    return workdir


def fail(workdir, *, metrics):
    """A start that claims the folder, takes the steps of these metrics, and fails."""
    with workdir.unchanged_unless_a_step_is_taken():
        workdir.config.write_text('{"seed": 1}')
        (workdir.path / "card.json").write_text('{"model": "new"}')
        workdir.metrics.write_text(metrics)
        raise MemoryError


def contents(workdir):
    return json.loads(workdir.config.read_text()), (workdir.path / "card.json").read_text()


@pytest.mark.parametrize("metrics", ['{"step": 1}\n{"step": 2}\n', '{"step": 1}\n'])
def test_a_start_that_fails_before_its_first_step_changes_no_config(run, metrics):
    before = contents(run)
    with pytest.raises(MemoryError):
        fail(run, metrics=metrics)
    assert contents(run) == before


def test_a_start_that_took_a_step_keeps_its_config(run):
    with pytest.raises(MemoryError):
        fail(run, metrics='{"step": 1}\n{"step": 3}\n')
    assert contents(run)[0] == {"seed": 1}


@pytest.mark.parametrize("setting", [("path", "clip"), ("begin", True)])
def test_a_run_that_goes_on_keeps_its_tokenizer_whatever_is_accepted(run, setting):
    before = run.config.read_text()
    name, value = setting
    changed = {"seed": 0, "tokenizer": {name: value}}
    for accepted in (False, True):
        with pytest.raises(ValueError, match=f"config.tokenizer.{name} must stay .* got {value!r}"):
            run.check(changed, accept_changes=accepted, must_exist=False)
    run.check({"seed": 1}, accept_changes=True, must_exist=False)
    assert run.config.read_text() == before
    run.metrics.unlink()  # no step was taken: the next start makes the tokenizer anew
    run.check(changed, accept_changes=True, must_exist=False)


@pytest.mark.parametrize(
    "name", ["results", "checkpoints/1", "report.html", "card.json", "", ".", "..", "a/../..", "/x"]
)
def test_a_folder_that_is_the_run_s_own_or_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="config.export.out must be a folder in the workdir"):
        Workdir(tmp_path).check_free("config.export.out", name)


def test_a_folder_of_any_other_name_is_free(tmp_path):
    for name in ("exported", "./exported", "exports/hf", "results-hf"):
        Workdir(tmp_path).check_free("config.export.out", name)


def test_a_disk_that_is_full_at_the_start_is_named_and_locks_nothing(tmp_path):
    def save(path):
        path.write_bytes(b"half of it")
        raise OSError(errno.EFBIG, "File too large")

    workdir, tokenizer = Workdir(tmp_path), SimpleNamespace(save=save)
    with pytest.raises(OSError, match="File too large: '.*tokenizer.model'"):
        workdir.claim({"seed": 0}, CARD, tokenizer)
    workdir.check({"seed": 1}, accept_changes=False, must_exist=False)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
