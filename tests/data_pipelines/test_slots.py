"""Memory in which groups of rows are handed over: written by one, read by another, used again."""

import os
import pickle
import threading
import time

import numpy as np
import pytest

from data_pipelines import watch
from data_pipelines.slots import Slots

ROW = {"id": np.zeros(1, np.int64), "present/a": np.zeros(1, bool), "image": np.zeros((1, 2, 3))}


@pytest.fixture(params=["memfd", "file"])
def slots(request, monkeypatch):
    if request.param == "file":  # as where there is no memfd
        monkeypatch.delattr(os, "memfd_create")
    return Slots(ROW, rows=4, workers=2)


def test_what_a_copy_writes_is_read_here(slots, monkeypatch):
    taken = {}
    for worker in (0, 1):
        monkeypatch.setattr(watch, "_worker", worker)
        copy = pickle.loads(pickle.dumps(slots))
        taken[worker + 1] = slot = copy.take()
        for name, array in copy.rows(slot, 3).items():
            array[:] = worker + 1
            assert array.shape == (3, *ROW[name].shape[1:]) and array.dtype == ROW[name].dtype
    assert taken == {1: 0, 2: 6}
    for value, slot in taken.items():
        for array in slots.rows(slot, 3).values():
            assert (array == np.asarray(value, array.dtype)).all()


def test_a_slot_is_not_taken_again_before_it_is_given_back(slots):
    copy = pickle.loads(pickle.dumps(slots))
    assert [copy.take() for _ in range(6)] == [*range(6)]
    found = []
    waiting = threading.Thread(target=lambda: found.extend([copy.take(), copy.take()]))
    waiting.start()
    time.sleep(0.05)
    assert not found
    slots.free(0)
    slots.clear()  # of all others
    waiting.join(5)
    assert found == [0, 1]


@pytest.mark.parametrize("way", ["memfd", "file"])
def test_nothing_is_left_behind(way, monkeypatch):
    if way == "file":
        monkeypatch.delattr(os, "memfd_create")
    slots = Slots(ROW, rows=4, workers=1)
    path = slots._path
    assert os.path.exists(path)
    del slots
    assert not os.path.exists(path)
