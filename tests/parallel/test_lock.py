"""One writer a folder: the second is refused, and a lock ends with its process."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vlp.parallel import lock as locks
from vlp.parallel.lock import NAME, Lock

HOLD = """
import sys, time
from vlp.parallel.lock import Lock
sys.stdin.read(1)
try:
    with Lock(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.read()
except ValueError as error:
    print("refused", error, flush=True)
"""


def holder(folder) -> subprocess.Popen[str]:
    """A process that takes the lock once it gets a byte, and gives it back when its input ends."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def go(process) -> str:
    process.stdin.write("g")
    process.stdin.flush()
    return process.stdout.readline()


@pytest.fixture
def quick(monkeypatch):
    for name, value in {"BEAT_S": 0.05, "STILL_S": 0.4, "SETTLE_S": 0.05}.items():
        monkeypatch.setattr(locks, name, value)


@pytest.fixture
def no_flock(monkeypatch):
    def refuse(file, how):
        raise OSError(errno.ENOSYS, "not on this file system")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)


def refused(folder) -> str:
    with pytest.raises(ValueError, match="another process writes there") as error, Lock(folder):
        pass
    return str(error.value)


def left_by_another_machine(folder) -> Path:
    folder.mkdir()
    about = {"host": "far", "machine": "other", "pid": 7, "since": "yesterday", "token": "0"}
    (folder / NAME).write_text(json.dumps(about))
    return folder / NAME


def test_a_second_lock_is_refused_in_one_line_that_names_the_holder(tmp_path):
    with Lock(tmp_path / "w") as first:
        before = first.path.read_bytes(), os.listdir(tmp_path / "w")
        said = refused(tmp_path / "w")
        assert before == (first.path.read_bytes(), os.listdir(tmp_path / "w"))
    assert f"pid {os.getpid()} on " in said and "\n" not in said
    with Lock(tmp_path / "w"):
        pass


def test_a_folder_made_for_the_lock_goes_with_it_and_one_in_use_stays(tmp_path):
    with Lock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / NAME).exists()
    assert os.listdir(tmp_path) == []
    with Lock(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "kept").touch()
    assert os.listdir(tmp_path / "a" / "b") == ["kept"]
    (tmp_path / "empty").mkdir()
    with Lock(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()


def test_a_single_file_has_a_lock_beside_it(tmp_path):
    with Lock.beside(tmp_path / "captions.jsonl"):
        with Lock.beside(tmp_path / "others.jsonl"):
            pass
        with pytest.raises(ValueError, match="another process"):
            Lock.beside(tmp_path / "captions.jsonl").__enter__()
    assert os.listdir(tmp_path) == []


def test_of_several_that_begin_at_once_in_a_new_folder_one_wins(tmp_path):
    for attempt in range(20):
        won, start = [], threading.Barrier(4)

        def take(folder=tmp_path / f"new-{attempt}", won=won, start=start):
            start.wait()
            try:
                with Lock(folder):
                    won.append(1)
                    start.wait()  # until all have tried
            except ValueError:
                won.append(0)
                start.wait()

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == [0, 0, 0, 1]
        assert list(tmp_path.rglob(NAME)) == []


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path):
    process = holder(tmp_path / "w")
    assert go(process) == "held\n"
    refused(tmp_path / "w")
    process.kill()
    process.communicate()
    assert (tmp_path / "w" / NAME).exists()
    began = time.monotonic()
    with Lock(tmp_path / "w"):
        pass
    assert time.monotonic() - began < locks.STILL_S / 2


def test_the_lock_of_another_machine_counts_while_its_time_moves(tmp_path, quick):
    path = left_by_another_machine(tmp_path / "w")
    lives = threading.Event()

    def beat():
        while not lives.wait(0.05):
            os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    said = refused(tmp_path / "w")
    lives.set()
    thread.join()
    assert "pid 7 on far since yesterday" in said
    assert json.loads(path.read_text())["host"] == "far"


def test_the_lock_of_another_machine_is_taken_over_when_its_time_stands_still(
    tmp_path, quick, capsys
):
    path = left_by_another_machine(tmp_path / "w")
    with Lock(tmp_path / "w"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert "watching" in capsys.readouterr().err


def test_where_the_kernel_locks_nothing_the_signs_of_life_decide(tmp_path, quick, no_flock):
    with Lock(tmp_path / "w") as first:
        assert "pid" in refused(tmp_path / "w")
        first._released.set()  # as if it had been killed: no more signs of life
        with Lock(tmp_path / "w"):
            pass


def test_where_the_kernel_locks_nothing_one_of_two_at_once_wins(tmp_path, quick, no_flock):
    won = []

    def take():
        try:
            with Lock(tmp_path / "w"):
                won.append(1)
                time.sleep(0.8)
        except ValueError:
            won.append(0)

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [0, 1]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1'])
def test_a_lock_whose_content_is_cut_off_is_no_obstacle(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    with Lock(tmp_path) as lock:
        assert lock.is_seen(lock.token) and not lock.is_seen("another")


def test_a_folder_that_the_processes_do_not_share_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "SHARED_S", 0.3)
    with Lock(tmp_path / "first") as lock:
        locks._check_shared(lock, lock.token)
        with pytest.raises(ValueError, match="a folder that all processes share"):
            locks._check_shared(Lock(tmp_path / "second"), lock.token)
