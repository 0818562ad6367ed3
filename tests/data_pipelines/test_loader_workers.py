"""Worker processes: the same stream, exact resume, deaths and stops noticed, no orphans."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from data_makers import Noisy, pixels
from small_loader import assert_equal, loader, take
from test_loader import source  # noqa: F401

from data_pipelines import feed


def test_workers_change_nothing_and_a_resume_is_exact(source):  # noqa: F811
    whole = take(loader(source), 7)
    two = loader(source, num_workers=2)
    assert_equal(take(two, 4), whole[:4])
    state = two.get_state()
    two.close()
    one = loader(source, num_workers=1)
    one.set_state(state)
    assert_equal(take(one, 3), whole[4:])
    one.close()


def test_arrays_outlive_the_workers(source):  # noqa: F811
    working = loader(source, num_workers=1)
    batch = next(working)
    working.close()
    assert all(type(value) is np.ndarray for value in batch.values())
    assert batch["weight"].sum() == 4


def kill_worker():
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    return worker.pid


def test_a_worker_that_dies_is_named_and_replaced_and_no_sample_is_lost(source, caplog):  # noqa: F811
    whole = take(loader(source), 400)
    working = loader(source, num_workers=1)
    first = take(working, 2)
    pid = kill_worker()
    assert_equal(first + take(working, 398), whole)
    working.close()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and said[0].startswith(f"the worker {pid} died a"), said
    assert "others go on with the same samples" in said[0]


class Fatal(Noisy):
    """Ends its process, or never returns, at the first sample that `hits` says, while it may."""

    def __init__(self, how, marks, times):
        self.how, self.marks, self.times = how, marks, times

    def __call__(self, rgba, rng):
        if (rgba[:4, :4, :3] == pixels(7)[:4, :4]).all():
            used = len(os.listdir(self.marks))
            if used < self.times:
                (Path(self.marks) / str(used)).touch()
                os.kill(os.getpid(), signal.SIGKILL) if self.how == "die" else time.sleep(3600)
        return super().__call__(rgba, rng)


@pytest.mark.parametrize(
    ("how", "said", "stall_s"),
    [
        pytest.param("die", r"died at sample 7 \(0007\) of epoch 0", 60.0, marks=pytest.mark.slow),
        ("hang", "and was ended", 1.0),
    ],
)
def test_a_sample_that_ends_or_stops_its_worker_once_is_loaded_by_another(
    source,  # noqa: F811
    tmp_path,
    caplog,
    how,
    said,
    stall_s,
):
    whole = take(loader(source, shuffle=False), 5)
    fatal = Fatal(how, tmp_path, times=1)
    working = loader(source, shuffle=False, num_workers=1, image_transform=fatal, stall_s=stall_s)
    assert_equal(take(working, 5), whole)
    working.close()
    assert [bool(re.search(said, record.getMessage())) for record in caplog.records] == [True]
    assert "sample 7 (0007) of epoch 0" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("how", ["die", "hang"])
def test_a_sample_that_does_so_again_ends_the_stream_and_is_named(source, tmp_path, how):  # noqa: F811
    fatal = Fatal(how, tmp_path, times=9)
    working = loader(source, shuffle=False, num_workers=1, image_transform=fatal, stall_s=1.0)
    with pytest.raises(RuntimeError, match=r"sample 7 \(0007\) of epoch 0.* as one before it had"):
        take(working, 5)
    working.close()
    assert multiprocessing.active_children() == []


def test_a_thread_that_stops_ends_the_stream_and_its_sample_is_named(source):  # noqa: F811
    going = threading.Event()

    def waits(rgba, _):
        going.wait()
        return rgba[:4, :4, :3]

    stopped = loader(source, shuffle=False, num_threads=1, image_transform=waits, stall_s=0.2)
    with pytest.raises(RuntimeError, match=r"is at sample 0 \(0000\) of epoch 0 for .* by workers"):
        next(stopped)
    going.set()
    stopped.close()


def test_what_a_thread_stops_at_is_said_although_its_key_cannot_be_read(source, monkeypatch):  # noqa: F811
    going = threading.Event()
    monkeypatch.setattr(feed, "_ANSWER_S", 0.1)
    monkeypatch.setattr(type(source), "key", lambda *_: going.wait() or "late")
    monkeypatch.setattr(type(source), "image", lambda *_: going.wait() or b"")
    stopped = loader(source, shuffle=False, num_threads=1, stall_s=0.2)
    with pytest.raises(RuntimeError, match=r"is at sample 0 \(.*\.tar\) of epoch 0"):
        next(stopped)
    going.set()
    stopped.close()


STALLED = """
import sys, time
sys.path[:0] = sys.argv[2:]
from small_loader import loader
from data_pipelines.sources import TarSource
from vlp.cli import main

def dispatch(_):
    next(loader(TarSource(sys.argv[1]), num_threads=1, stall_s=0.2,
                image_transform=lambda *_: time.sleep(3600)))

if __name__ == "__main__":
    main._dispatch = dispatch
    sys.exit(main.main(["train"]))
"""


def test_a_command_ends_although_a_thread_does_not(source, tmp_path):  # noqa: F811
    program = tmp_path / "program.py"
    program.write_text(STALLED)
    here = Path(__file__).parent
    command = [sys.executable, program, source.paths[0], here, here.parents[1]]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and run.stderr.startswith("vlp: a thread of process")


def test_a_signal_to_the_group_leaves_the_data_flowing(source):  # noqa: F811
    working = loader(source, num_workers=1)
    next(working)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGINT)
    assert len(take(working, 20)) == 20
    working.close()


PROGRAM = """
import multiprocessing, sys
sys.path[:0] = sys.argv[2:]
from small_loader import loader
from data_pipelines.sources import TarSource

if __name__ == "__main__":
    working = loader(TarSource(sys.argv[1]), num_workers=1)
    next(working)
    print(multiprocessing.active_children()[0].pid, flush=True)
    {ending}
"""


@pytest.mark.parametrize("ending", ["import os; os.kill(os.getpid(), 9)", "pass"])
def test_a_program_that_ends_without_closing_leaves_no_worker(source, tmp_path, ending):  # noqa: F811
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(ending=ending))
    here = Path(__file__).parent
    command = [sys.executable, program, source.paths[0], here, here.parents[1]]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    worker = int(run.stdout)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()
    if ending == "pass":
        assert (run.returncode, run.stderr) == (0, "")
