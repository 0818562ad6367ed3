"""Worker processes: the same stream, exact resume, and a death that is noticed."""

import multiprocessing
import os
import signal

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
