"""Worker processes: the same stream, exact resume, a death that is noticed, no orphans."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_loader import assert_equal, loader, source, take  # noqa: F401


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


def test_the_death_of_a_worker_is_an_error_and_no_wait(source):  # noqa: F811
    working = loader(source, num_workers=1)
    next(working)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="terminated unexpectedly with exit code -9"):
        take(working, 100)
    working.close()


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
from test_loader import loader
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
