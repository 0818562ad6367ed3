"""A sweep that is stopped anywhere goes on without losing or repeating a row."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.sweeps.small_sweep import made, swept, table
from vlp.cli.main import main
from vlp.parallel.lock import Lock
from vlp.sweeps.log import Log
from vlp.sweeps.table import write_tables
from vlp.sweeps.vectors import Rows, VectorStore


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A model and its sets."""
    return made(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The table of a sweep that nobody stopped."""
    out = tmp_path_factory.mktemp("whole")
    swept(root, out)
    return table(out)


class Stopped(BaseException):
    """As a signal would end it."""


class Writes:
    """Counts what goes to the disk, and ends it all at one of them; what was half done stays."""

    def __init__(self, monkeypatch) -> None:
        self.done, self.last = 0, 0
        for name in ("replace", "fsync"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, function):
        def call(*arguments, **keywords):
            self.done += 1
            if self.done == self.last:
                raise Stopped
            return function(*arguments, **keywords)

        return call


def rows_of(out: Path) -> list[dict]:
    """The rows of a log."""
    lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def check_whole(out: Path, whole: list[dict]) -> None:
    """It is the same table, and no row that did not fail was made twice."""
    assert table(out) == whole
    keys = [row["key"] for row in rows_of(out) if "failed" not in row]
    assert len(keys) == len(set(keys)) == 2


def test_stopped_at_any_write_and_resumed_it_is_the_same_table(root, whole, tmp_path, monkeypatch):
    writes = Writes(monkeypatch)
    swept(root, tmp_path / "all")
    total = writes.done
    assert total >= 20  # vectors, what is said of samples, rows, tables
    for last in range(2, total, total // 3):
        writes.done, writes.last = 0, last
        with pytest.raises(Stopped):
            swept(root, tmp_path / str(last))
        writes.last = 0
        swept(root, tmp_path / str(last))
        check_whole(tmp_path / str(last), whole)


def test_a_torn_last_line_is_mended_and_its_row_made_anew(root, whole, tmp_path, caplog):
    swept(root, tmp_path)
    path = tmp_path / "log.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\n", 0, -1) + 40])
    log = swept(root, tmp_path)
    assert "its last line was not whole" in caplog.text
    assert table(tmp_path) == whole
    assert [row["key"] for row in rows_of(tmp_path)] == list(log.rows)


def test_a_reader_leaves_a_torn_line_as_it_is_and_the_next_row_takes_it_off(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    Log(path).append({"key": "a"})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"format": 1, "ke')
    log = Log(path)
    assert list(log.rows) == ["a"] and "its last line was not whole" in caplog.text
    assert path.read_bytes() == whole + b'{"format": 1, "ke'
    log.append({"key": "b"})
    log.append({"key": "c"})
    assert [row["key"] for row in rows_of(tmp_path)] == ["a", "b", "c"]


def test_what_is_there_is_not_done_again(root, tmp_path):
    swept(root, tmp_path)
    before = (tmp_path / "log.jsonl").read_bytes()
    log = swept(root, tmp_path)
    after = (tmp_path / "log.jsonl").read_bytes()
    failed = [row for row in log.rows.values() if "failed" in row]
    assert after.startswith(before) and after[len(before) :].count(b"\n") == len(failed) == 1


def test_other_draws_of_templates_make_the_rows_of_classification_anew_and_no_others(
    root, tmp_path
):
    first = {row["task"]: row for row in swept(root, tmp_path).rows.values()}
    before = (tmp_path / "log.jsonl").read_bytes()
    swept(root, tmp_path, template_draws=0)
    new = (tmp_path / "log.jsonl").read_bytes()[len(before) :].splitlines()
    (row,) = [row for line in new if "failed" not in (row := json.loads(line))]
    assert row["task"] == "classification" and row["decoded"] == []
    for name, scores in row["metrics"].items():
        with_them = first["classification"]["metrics"][name]
        assert scores == {k: v for k, v in with_them.items() if not k.startswith("template_")}
        assert len(with_them) == len(scores) + 2


def test_the_protocol_that_was_asked_for_last_counts_for_every_reader_and_nothing_is_done_again(
    root, whole, tmp_path
):
    seven = {"entry": {"templates": "clip7"}}
    swept(root, tmp_path)
    swept(root, tmp_path, **seven)
    other = table(tmp_path)
    assert other != whole
    for changed, wanted in (({}, whole), (seven, other)):
        log = swept(root, tmp_path, **changed)
        assert table(tmp_path) == wanted
        assert list(Log(tmp_path / "log.jsonl").rows.values()) == list(log.rows.values())
    made_once = {(row["key"], row["time"]) for row in rows_of(tmp_path) if "failed" not in row}
    assert len(made_once) == 3  # retrieval, and classification by either
    write_tables(tmp_path, Log(tmp_path / "log.jsonl").rows.values())
    assert table(tmp_path) == other


def test_another_main_metric_or_group_of_the_suite_is_in_the_table_and_nothing_is_done_again(
    root, whole, tmp_path
):
    swept(root, tmp_path)
    changed = {"metric": "classification/mean_per_class_recall", "group": "ours"}
    swept(root, tmp_path, entry=changed)
    lines = [line for line in table(tmp_path) if line["task"] == "classification"]
    assert [line["metric"] for line in lines if line["main"]] == ["mean_per_class_recall"]
    assert {line["group"] for line in lines} == {"ours"}
    assert "classification, mean_per_class_recall" in (tmp_path / "table.md").read_text()
    swept(root, tmp_path)
    assert table(tmp_path) == whole
    made_once = {(row["key"], row["time"]) for row in rows_of(tmp_path) if "failed" not in row}
    assert len(made_once) == 2


def test_a_row_that_failed_and_is_made_again_is_the_newest(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for row in ({"key": "a", "failed": "no"}, {"key": "b"}, {"key": "a"}):
        log.append(row)
    assert list(log.rows) == list(Log(log.path).rows) == ["b", "a"]
    assert log.done("a")


def test_pictures_are_decoded_once_for_all_tasks_and_sweeps(root, tmp_path):
    first = swept(root, tmp_path / "a", vectors=tmp_path / "vectors")
    again = swept(root, tmp_path / "b", vectors=tmp_path / "vectors")
    assert [row.get("decoded") for row in first.rows.values()] == [[70], [70], []]
    assert [row.get("decoded") for row in again.rows.values()] == [[], [], []]
    assert table(tmp_path / "a") == table(tmp_path / "b")


def test_vectors_that_are_half_there_are_not_used(tmp_path):
    store, of = VectorStore(tmp_path), {"model": "m"}
    store.keep(of, Rows(np.arange(3), np.ones((3, 4), np.float32), []))
    assert store.find(of) is not None
    (file,) = tmp_path.glob("*.npy")
    data = file.read_bytes()
    for cut in (0, 60, len(data) - 8):
        file.write_bytes(data[:cut])
        assert store.find(of) is None
    file.unlink()
    assert store.find(of) is None


def test_what_was_left_half_written_is_removed_but_not_that_of_others(root, tmp_path):
    names = (".a.partial", "vectors/.b.partial", "export/datacomp/m/.c.partial", "july/.d.partial")
    for name in (*names, "log.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    flags = [f"--models={root / 'model'}", f"--suite={root / 'suite.toml'}", f"--data={root}"]
    assert main(["sweep", *flags, "--only=missing", f"--out={tmp_path}"]) == 0
    assert [name for name in names if (tmp_path / name).exists()] == ["july/.d.partial"]


def test_a_page_that_cannot_be_drawn_keeps_no_export_back(root, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("no page")

    monkeypatch.setattr("vlp.sweeps.page.write.write_page", broken)
    flags = [f"--models={root / 'model'}", f"--suite={root / 'suite.toml'}", f"--data={root}"]
    flags += ["--only=classification", "--draws=0", "--export=clip_benchmark"]
    assert main(["sweep", *flags, f"--out={tmp_path}"]) == 1
    assert len([*(tmp_path / "export" / "clip_benchmark").iterdir()]) == 1


def test_a_set_that_is_there_by_now_is_not_counted_as_failed(root, tmp_path, capsys):
    out, later = tmp_path / "out", tmp_path / "data"
    flags = [f"--models={root / 'model'}", f"--suite={root / 'suite.toml'}", "--only=missing"]
    flags += ["--draws=0", "--template-draws=0", f"--out={out}"]
    assert main(["sweep", *flags, f"--data={later}"]) == 0
    assert f"1 rows in {out}, 1 of them failed" in capsys.readouterr().out
    shutil.copytree(root / "wds_classification_test", later / "wds_missing_test")
    assert main(["sweep", *flags, f"--data={later}"]) == 0
    assert f"1 rows in {out}, 0 of them failed" in capsys.readouterr().out


def test_two_sweeps_into_one_folder_are_refused(root, tmp_path, capsys):
    flags = [f"--models={root / 'model'}", f"--suite={root / 'suite.toml'}", f"--data={root}"]
    with Lock(tmp_path):  # as the first of the two holds it
        assert main(["sweep", *flags, f"--out={tmp_path}"]) == 1
        assert f"{tmp_path}: another process writes there" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == [".vlp.lock"]


@pytest.mark.parametrize("flag", ["--limit", "--draws", "--template-draws"])
def test_numbers_below_nothing_are_refused(tmp_path, capsys, flag):
    line = ["sweep", "--models=m", "--suite=emoji", f"--out={tmp_path / 'out'}", f"{flag}=-1"]
    assert main(line) == 1
    assert f"{flag} must be 0 or more, got -1" in capsys.readouterr().err


AT_A_LIMIT = """
import resource, sys
from pathlib import Path
from vlp.sweeps.log import Log
log = Log(Path(sys.argv[1]))
log.append({"key": "a"})
size = log.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
try:
    log.append({"key": "b"})
except OSError as error:
    print(error.strerror, log.path.stat().st_size == size, list(log.rows))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append({"key": "c"})
"""


def test_a_row_that_has_only_half_the_room_is_an_error_and_leaves_nothing(tmp_path):
    path = tmp_path / "log.jsonl"
    line = [sys.executable, "-c", AT_A_LIMIT, str(path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.stdout == "File too large True ['a']\n", done.stderr
    assert list(Log(path).rows) == ["a", "c"]


def test_a_row_that_finds_the_disk_full_leaves_no_half_line(tmp_path, monkeypatch):
    log = Log(tmp_path / "log.jsonl")
    log.append({"key": "a"})
    before = log.path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            log.append({"key": "b"})
    assert log.path.read_bytes() == before
    log.append({"key": "c"})
    assert list(Log(log.path).rows) == ["a", "c"]
