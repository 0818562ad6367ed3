"""A sweep that is stopped anywhere goes on without losing or repeating a row."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.sweeps.small_sweep import made, swept, table
from vlp.parallel.lock import Lock, only_writer
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


@pytest.fixture
def stop(monkeypatch):
    """Ends what is done at the n-th write to the disk: before it, or with half of it there."""

    def at(number: int) -> None:
        left = [number]
        replace, fsync = os.replace, os.fsync

        def counted(function):
            def call(*arguments, **keywords):
                left[0] -= 1
                if not left[0]:
                    raise Stopped
                return function(*arguments, **keywords)

            return call

        monkeypatch.setattr(os, "replace", counted(replace))
        monkeypatch.setattr(os, "fsync", counted(fsync))

    yield at


def test_stopped_at_every_write_and_resumed_it_is_the_same_table(
    root, whole, tmp_path, stop, monkeypatch
):
    stops = 0
    for number in range(1, 100):
        out = tmp_path / str(number)
        stop(number)
        try:
            swept(root, out)
            monkeypatch.undo()
            break
        except Stopped:
            stops += 1
        monkeypatch.undo()
        swept(root, out)
        assert table(out) == whole, number
        keys = [json.loads(line)["key"] for line in (out / "log.jsonl").open()]
        done = [key for key in keys if keys.count(key) > 1]
        assert all("failed" in row for row in rows_of(out) if row["key"] in done), number
    assert stops >= 8  # vectors, what is said of samples, and rows


def rows_of(out: Path) -> list[dict]:
    """The rows of a log."""
    return [json.loads(line) for line in (out / "log.jsonl").open(encoding="utf-8")]


def test_a_torn_last_line_is_mended_and_its_row_made_anew(root, whole, tmp_path, caplog):
    swept(root, tmp_path)
    path = tmp_path / "log.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\n", 0, -1) + 40])
    log = swept(root, tmp_path)
    assert "its last line was not whole" in caplog.text
    assert table(tmp_path) == whole
    assert [row["key"] for row in rows_of(tmp_path)] == list(log.rows)


def test_what_is_there_is_not_done_again(root, tmp_path):
    swept(root, tmp_path)
    before = (tmp_path / "log.jsonl").read_bytes()
    log = swept(root, tmp_path)
    after = (tmp_path / "log.jsonl").read_bytes()
    failed = [row for row in log.rows.values() if "failed" in row]
    assert after.startswith(before) and after[len(before) :].count(b"\n") == len(failed) == 1


def test_pictures_are_decoded_once_for_all_tasks_and_sweeps(root, tmp_path):
    first = swept(root, tmp_path / "a", vectors=tmp_path / "vectors")
    again = swept(root, tmp_path / "b", vectors=tmp_path / "vectors")
    assert [row.get("decoded") for row in first.rows.values()] == [[21], [21], []]
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


def test_two_sweeps_into_one_folder_are_refused(tmp_path):
    with (
        only_writer(Lock(tmp_path)),
        pytest.raises(ValueError, match="another process|held|writes"),
        only_writer(Lock(tmp_path)),
    ):
        pass
