"""Batches laid ahead: the thread that asks copies nothing, memory does not grow with the batch."""

import json
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from data_makers import Noisy, pairs, write_tar
from small_loader import assert_equal, fields, loader, take

from data_pipelines import auto, feed
from data_pipelines.assemble import TrainGroups
from data_pipelines.fields import Pictures
from data_pipelines.limits import LIMITS
from data_pipelines.loader import make_loader
from data_pipelines.order import Mixture
from data_pipelines.sources import TarSource
from data_pipelines.sources.within import Within
from data_pipelines.workers import WorkerLost


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return TarSource(write_tar(tmp_path_factory.mktemp("data") / "a.tar", pairs(10)))


@pytest.mark.parametrize("rows", [1, 3, 32, 33, 70, 130])
def test_groups_laid_together_are_the_batch_whatever_its_size(source, rows):
    """Sample by sample, in a batch of one each, is the reference."""
    alone = take(loader(source, global_batch_size=1), 2 * rows)
    for threads in (0, 2):
        together = loader(source, global_batch_size=rows, num_threads=threads)
        for number, batch in enumerate(take(together, 2)):
            own = alone[number * rows : (number + 1) * rows]
            for name, array in batch.items():
                np.testing.assert_array_equal(array, np.concatenate([one[name] for one in own]))
        together.close()


def groups(source, rows, **values):
    settings = dict(optional=(), seed=1, shuffle=True, blocks=None, epochs=None, process_index=0,
                    process_count=1, mixture=None, fields=fields())  # fmt: skip
    return TrainGroups(source=source, global_batch_size=rows, **(settings | values))


class Billion(Within):
    """A billion samples that hold nothing."""

    name, limits, fingerprint = "billion", LIMITS, "billion"

    def __len__(self):
        return 10**9


def test_a_billion_samples_cost_nothing_before_they_are_read():
    settings = dict(fields={"large": Large()}, global_batch_size=4, seed=1, num_threads=0)
    stream = make_loader(Billion(), **settings)
    assert len(pickle.dumps(stream.groups)) < 10_000 + Large.absent.nbytes  # what a worker gets
    tracemalloc.start()
    batch = next(stream)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert len(set(batch["id"].tolist())) == 4 and batch["id"].max() > 10**6


def test_a_group_is_of_few_rows_and_of_few_bytes(source):
    assert groups(source, 4096).group_rows == 32 and groups(source, 5).group_rows == 5
    large = {"image": Pictures(Noisy(), size=1024)}  # 3 MiB a row
    assert groups(source, 4096, fields=large).group_rows == 2


class Large:
    """A field of 64 KiB a row, of which nothing is decoded."""

    absent = np.zeros(2**16, np.uint8)

    def __call__(self, example):
        return np.full(2**16, example.index % 256, np.uint8)


def test_what_waits_is_bounded_whatever_the_batch(source):
    """Two batches beside the one that is used, and a few groups: not batches a thread."""
    peaks = {}
    for threads in (1, 4):
        how = dict(fields={"large": Large()}, global_batch_size=512, num_threads=threads)
        stream = loader(source, **how)
        tracemalloc.start()
        for _ in range(4):
            next(stream)
        peaks[threads] = tracemalloc.get_traced_memory()[1] / (512 * 2**16)
        tracemalloc.stop()
        stream.close()
    assert peaks[1] < 4 and peaks[4] < 5, peaks


@pytest.mark.slow
def test_shared_memory_of_workers_does_not_grow_with_the_batch():
    """A host of eight at a global batch of 32,768."""
    script = Path(__file__).parents[2] / "benchmarks" / "loader_memory.py"
    command = [sys.executable, script, "--hosts=1", "--global-batch-size=4096", "--workers=2"]
    environment = os.environ | {"PYTHONPATH": str(script.parents[1])}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    cells = run.stdout.splitlines()[-1].replace(",", "").strip("| ").split(" | ")
    _, batch, shared, resident = map(int, cells)
    assert batch > 600 and 0 < shared < 0.4 * batch and resident < 3.5 * batch


def test_who_asks_copies_nothing(source, monkeypatch):
    threads = set()
    own = feed.lay

    def lay(*args):
        threads.add(threading.current_thread().name)
        return own(*args)

    monkeypatch.setattr(feed, "lay", lay)
    stream = loader(source, num_threads=2)
    batches = take(stream, 5)
    stream.close()
    assert threads == {"data"}
    assert all(array.flags.owndata for batch in batches for array in batch.values())
    first = {name: array.copy() for name, array in batches[0].items()}
    for batch in batches[1:]:
        for array in batch.values():
            array[...] = 0
    assert_equal([batches[0]], [first])  # no batch is written into another


def test_an_error_of_the_data_reaches_who_asks_and_is_said_again(source):
    def broken(*_):
        raise OSError("the disk is gone")

    stream = loader(source, num_threads=1, image_transform=broken)
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            next(stream)
    stream.close()


def test_closing_while_a_worker_hangs_begins_no_other(source, monkeypatch, caplog):
    made, killed = [], threading.Event()

    class Hanging:
        def __init__(self, _, *, count):
            made.append(count)

        def __next__(self):
            killed.wait()
            raise WorkerLost("killed")

        def close(self):
            """Nothing is to be ended."""

    monkeypatch.setattr(feed, "Workers", Hanging)
    monkeypatch.setattr(feed, "_ENDING_S", 0.1)
    monkeypatch.setattr(feed.Feed, "_kill_workers", lambda _: killed.set())
    hanging = feed.Feed(groups(source, 4), 0, num_threads=0, num_workers=1, stall_s=60.0)
    hanging.close()
    assert killed.is_set() and not hanging._thread.is_alive()
    assert made == [1] and not caplog.text and not hanging.ready


def test_auto_takes_threads_where_they_use_the_cores_and_processes_elsewhere(source, monkeypatch):
    rates = {1: 100.0}
    monkeypatch.setattr(auto, "_rate", lambda *_, threads: rates[threads])
    for cores, together, wanted in ((4, 380.0, (4, 0)), (4, 120.0, (0, 3)), (1, 100.0, (1, 0))):
        rates[cores] = together
        choice = auto.choose(groups(source, 8), cores=cores)
        assert choice[:2] == wanted and choice.said.startswith("samples are loaded by ")
    monkeypatch.undo()
    monkeypatch.setattr(auto, "_SECONDS", 0.02)
    assert auto.choose(groups(source, 8), cores=2).said


def test_auto_changes_no_sample_and_another_word_is_refused(source, monkeypatch):
    monkeypatch.setattr("data_pipelines.loader.choose", lambda *_, cores: auto.Choice(2, 0, "said"))
    stream = loader(source, num_workers="auto")
    assert_equal(take(stream, 6), take(loader(source), 6))
    stream.close()
    with pytest.raises(ValueError, match="num_workers must be a number or \"auto\", got 'many'"):
        loader(source, num_workers="many")


def test_auto_takes_its_share_of_the_cores_that_processes_of_the_run_share(source, monkeypatch):
    monkeypatch.setattr(auto.os, "sched_getaffinity", lambda _: range(8), raising=False)
    asked = []
    monkeypatch.setattr(
        "data_pipelines.loader.choose", lambda *_, cores: asked.append(cores) or auto.Choice(1, 0)
    )
    for sharing in (1, 2, 3, 16):
        assert loader(source, num_workers="auto", sharing=sharing).how.threads == 1
    assert asked == [8, 4, 2, 1]
    with pytest.raises(ValueError, match="sharing must be at least 1, got 0"):
        loader(source, sharing=0)


def test_metrics_say_what_loading_is_like_and_the_share_that_each_part_had(source):
    mixture = Mixture((4,), (0.25,), ("own", "web"))
    stream = loader(source, mixture=mixture, num_threads=1)
    assert stream.metrics() == {"perf/data_ready_batches": 0.0}
    ids = np.concatenate([batch["id"] for batch in take(stream, 10)])
    found = stream.metrics()
    stream.close()
    assert found["perf/data_core_ms"] > 0 and found["data/rejected"] == 0
    assert found["perf/data_ready_batches"] >= 0
    assert found["data/share/web"] == (ids >= 4).mean() == 0.25
    assert found["data/share/own"] == 0.75
    after = loader(source, mixture=mixture)
    after.set_state(json.loads(json.dumps(stream.get_state())))
    assert after.metrics()["data/share/web"] == 0.25
