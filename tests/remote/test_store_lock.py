"""One writer a folder of a store: the second is refused, and a lock whose holder died is taken."""

import json
import os
import time

import pytest

from vlp.parallel import holder, store_lock
from vlp.parallel import lock as locks
from vlp.parallel.store_lock import StoreLock


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, value in {"BEAT_S": 0.05, "STILL_S": 0.4, "SETTLE_S": 0.05}.items():
        monkeypatch.setattr(locks, name, value)


def refused(folder) -> str:
    with pytest.raises(ValueError, match="another process writes there") as error:
        StoreLock(folder).__enter__()
    return str(error.value)


def left_by(folder, **about):
    """A lock that nobody renews."""
    lock = StoreLock(folder)
    lock.path.write_text(json.dumps(holder.about_this_process() | about))
    return lock


def test_a_second_lock_is_refused_in_one_line_and_a_third_comes_after_the_first(gs):
    folder = f"{gs}/run"
    with StoreLock(folder) as first:
        assert first.is_seen(first.token) and not first.is_seen("another")
        said = refused(folder)
        assert f"pid {os.getpid()}" in said and "\n" not in said
        assert first.is_seen(first.token)
    assert not first.path.exists()
    first.release()
    with StoreLock(folder):
        pass


def test_a_lock_of_another_machine_that_stands_still_is_taken_over(gs, capsys):
    left_by(f"{gs}/run", machine="other", host="far", pid=7)
    began = time.monotonic()
    with StoreLock(f"{gs}/run") as lock:
        assert lock.is_seen(lock.token)
    assert time.monotonic() - began >= locks.STILL_S
    assert "pid 7 on far" in capsys.readouterr().err


def test_a_lock_of_another_machine_that_moves_is_kept(gs):
    with StoreLock(f"{gs}/run") as lock:
        lock._mine |= {"machine": "other"}
        time.sleep(3 * locks.BEAT_S)
        refused(f"{gs}/run")


def test_a_holder_that_stood_still_leaves_the_lock_to_who_took_it_over(gs, caplog):
    with StoreLock(f"{gs}/run") as late:
        other = left_by(f"{gs}/run", host="far", pid=7)
        content = other.path.read_text()
        time.sleep(5 * locks.BEAT_S)
        assert other.path.read_text() == content
        assert "another process writes there, pid 7 on far" in caplog.text
    late.release()
    assert other.path.read_text() == content


def test_a_process_of_this_machine_that_is_gone_is_not_waited_for(gs, monkeypatch, capsys):
    def gone(pid, number):
        raise ProcessLookupError

    left_by(f"{gs}/run", pid=2**22 + 1)
    monkeypatch.setattr(holder.os, "kill", gone)
    with StoreLock(f"{gs}/run"):
        pass
    assert "watching" not in capsys.readouterr().err


def test_a_container_of_this_machine_may_have_the_same_numbers(gs):
    assert holder.is_dead_here(holder.about_this_process() | {"pid": 2**22 + 1})
    assert not holder.is_dead_here(holder.about_this_process())
    elsewhere = {"processes": "pid:[1]", "pid": 2**22 + 1}
    assert not holder.is_dead_here(holder.about_this_process() | elsewhere)


def test_of_two_that_take_a_dead_one_over_one_is_refused(gs, monkeypatch):
    """The other one created its lock after this one had looked."""
    lock = left_by(f"{gs}/run", machine="other")

    def taken_meanwhile(*_, **__):
        lock.path.write_text(json.dumps(holder.about_this_process() | {"token": "theirs"}))

    monkeypatch.setattr(store_lock, "say_watching", taken_meanwhile)
    refused(f"{gs}/run")
    assert lock.is_seen("theirs")
