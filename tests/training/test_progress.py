"""A run says its step, speed and time left without compilation and pauses, and what pauses are."""

import time

import pytest

from vlp.training.loop import progress as module
from vlp.training.loop.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes only when told."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def row(pairs=100.0):
    return {"train/loss": 2.0, "train/pairs": pairs, "perf/pairs_per_s": 1.0}


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_speed_and_time_left_count_neither_the_first_step_nor_pauses(clock, capsys):
    progress = Progress(102, seconds=0.0)
    clock.now += 1000  # compiling
    progress.log(1, row())
    clock.now += 2
    progress.log(2, row())
    with progress.pause("evaluating"):
        clock.now += 500
    clock.now += 2
    progress.log(3, row(pairs=60.0))
    said = lines(capsys)
    assert said[0] == "step 1/102  loss 2.0000"
    assert said[1] == "step 2/102  loss 2.0000  50 pairs/s  0:03:20 left"
    assert said[-1] == "step 3/102  loss 2.0000  40 pairs/s  0:03:18 left"


def test_a_resumed_run_counts_from_where_it_is(clock, capsys):
    progress = Progress(1010, start=1000, seconds=0.0)
    for step in (1001, 1002):
        clock.now += 3
        progress.log(step, row())
    assert lines(capsys)[-1].endswith("0:00:24 left")


def test_steps_without_a_row_count_in_the_speed(clock, capsys):
    progress = Progress(100, seconds=0.0)
    for step in (4, 8, 12):
        clock.now += 8
        progress.log(step, row())
    assert lines(capsys)[-1] == "step 12/100  loss 2.0000  50 pairs/s  0:02:56 left"


def test_without_a_terminal_a_line_comes_now_and_then_and_at_the_end(capsys):
    progress = Progress(3, seconds=1000.0)
    for step in (1, 2, 3):
        progress.log(step, row())
    progress.close()
    said = lines(capsys)
    assert [line.split()[1] for line in said] == ["1/3", "3/3"]


def test_a_pause_says_what_it_is_and_how_long_it_has_taken(capsys):
    progress = Progress(3)
    with progress.pause("at once"):
        pass
    with progress.pause("evaluating twemoji"):
        time.sleep(1.3)
    assert lines(capsys) == ["evaluating twemoji (1 s so far)"]


def test_another_process_says_nothing(capsys):
    progress = Progress(3, seconds=0.0, shown=False)
    with progress.pause("compiling"):
        time.sleep(1.2)
    assert lines(capsys) == []


def test_on_a_terminal_it_is_a_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    progress = Progress(3)
    progress.log(3, {"train/loss": 2.0})
    progress.close()
    assert "3/3" in capsys.readouterr().out
