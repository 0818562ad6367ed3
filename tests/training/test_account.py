"""Every second of a run is counted once, over all its starts, and what is done again is lost."""

import time

import pytest

from vlp.training.loop import account as module
from vlp.training.loop.account import KINDS, Account


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def spend(account, clock, kind, seconds):
    clock[0] += 1.0  # of steps
    with account.timed(kind):
        clock[0] += seconds


def test_all_time_is_counted_once_and_what_is_nothing_else_is_steps(clock):
    account = Account(began=90.0)
    account.until_now("start")
    for kind, seconds in (("compile", 5.0), ("data", 2.0), ("evaluation", 3.0)):
        spend(account, clock, kind, seconds)
    want = dict(start=10.0, compile=5.0, data=2.0, evaluation=3.0, step=3.0)
    assert account.seconds == dict.fromkeys(KINDS, 0.0) | want
    assert sum(account.seconds.values()) == clock[0] - 90.0
    assert account.goodput == 3 / 23


def test_what_fails_is_counted_as_what_it_was(clock):
    account = Account()
    with pytest.raises(KeyError), account.timed("evaluation"):
        clock[0] += 4.0
        raise KeyError
    assert account.seconds["evaluation"] == 4.0


def test_a_start_takes_up_the_sums_and_loses_the_steps_that_it_does_again(clock):
    first = Account()
    rows = []
    for step in (5, 6, 7):
        spend(first, clock, "data", 0.5)
        rows.append({"step": step} | first.row())
    second = Account(rows=rows, step=5)
    assert second.seconds["step"] == 1.0 and second.seconds["lost"] == 2.0
    assert second.seconds["data"] == 1.5  # waited for in vain, but no step
    assert second.starts == 2
    third = Account(rows=[{"step": 5} | first.row(), {"step": 9} | second.row()], step=9)
    assert third.seconds == second.seconds and third.starts == 3


def test_without_a_row_at_the_checkpoint_all_steps_are_done_again(clock):
    first = Account()
    spend(first, clock, "data", 0.5)
    again = Account(rows=[{"step": 3} | first.row()], step=0)
    assert again.seconds["step"] == 0.0 and again.seconds["lost"] == 1.0


def test_rows_of_a_run_that_kept_no_account_count_nothing(clock):
    account = Account(rows=[{"step": 1, "train/loss": 2.0}], step=1)
    assert account.seconds == dict.fromkeys(KINDS, 0.0) and account.starts == 1


def test_it_is_said_in_words_that_add_up_to_all(clock):
    account = Account()
    spend(account, clock, "checkpoint", 3661.0)
    facts = account.facts()
    assert facts["saving"] == "1:01:01 (100.0%)"
    assert facts["starts"] == "1" and "compiling" not in facts


def test_the_clock_is_the_one_that_never_goes_back():
    assert Account(began=time.monotonic() - 7.0).goodput == 0.0
