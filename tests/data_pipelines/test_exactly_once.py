"""However a run is cut and goes on, its stream is that of the run that nothing cut.

Hosts, workers and the batch size change in between; what is compared are the ids of every place.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from data_makers import pairs, write_tar

from data_pipelines.loader import make_loader
from data_pipelines.order import Blocks, Mixture
from data_pipelines.sources import ConcatSource, TarSource

COUNT = 30


class Index:
    """A field of nothing but the sample's index, of which some samples take long."""

    absent = np.zeros((), np.int64)

    def __call__(self, example):
        if os.environ.get("SLOWLY"):
            time.sleep(0.002)
        return np.asarray(example.index)


def streams(paths, *, hosts, batch, mixed=True, **values):
    """The loader of each host."""
    source = ConcatSource([TarSource(path) for path in paths])
    mixture = Mixture((10, 17), (0.3, 0.45), drawn=(1,)) if mixed else None
    how = dict(fields={"index": Index()}, global_batch_size=batch, seed=1, mixture=mixture,
               process_count=hosts, max_reject_share=1.0) | values  # fmt: skip
    return [make_loader(source, process_index=host, **how) for host in range(hosts)]


def global_ids(loaders):
    """The ids of the next global batch."""
    return [index for loader in loaders for index in next(loader)["id"].tolist()]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Thirty samples in three tars of ten, seven and thirteen."""
    folder, members = tmp_path_factory.mktemp("data"), pairs(COUNT)
    cuts = zip("abc", (0, 10, 17), (10, 17, COUNT), strict=True)
    return [write_tar(folder / f"{n}.tar", members[3 * i : 3 * j]) for n, i, j in cuts]


def test_a_stream_cut_anywhere_goes_on_with_other_hosts_threads_and_batches(paths):
    hypothesis = pytest.importorskip("hypothesis")
    given = hypothesis.strategies
    length = 400
    wholes = {
        (mixed, size): np.concatenate([
            global_ids(streams(paths, hosts=1, batch=length, mixed=mixed, num_threads=0,
                               blocks=size and Blocks(size=size, window=2)))
        ]).tolist()
        for mixed in (False, True) for size in (None, 4)
    }  # fmt: skip
    starts = given.lists(
        given.tuples(
            given.integers(1, 4),  # hosts
            given.integers(1, 9),  # rows of each
            given.integers(0, 2),  # threads
            given.integers(1, 5),  # batches until its checkpoint
            given.integers(0, 3),  # and behind it, which are lost
        ),
        min_size=1,
        max_size=6,
    )

    @hypothesis.settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @hypothesis.given(starts, given.booleans(), given.sampled_from([None, 4]))
    def cut(starts, mixed, size):
        place, state = 0, None
        for hosts, rows, threads, kept, lost in starts:
            how = dict(mixed=mixed, num_threads=threads, blocks=size and Blocks(size, window=2))
            loaders = streams(paths, hosts=hosts, batch=hosts * rows, **how)
            for loader in loaders:
                if state is not None:
                    loader.set_state(state)
            for number in range(kept + lost):
                if place + (number + 1) * hosts * rows > length:
                    break
                first = place + number * hosts * rows
                assert global_ids(loaders) == wholes[mixed, size][first : first + hosts * rows]
                if number == kept - 1:
                    state = json.loads(json.dumps(loaders[0].get_state()))
            for loader in loaders:
                loader.close()
            place = 0 if state is None else state["samples"]

    cut()


def test_every_epoch_has_every_sample_once_and_a_part_its_own_epochs(paths):
    (alone,) = streams(paths, hosts=1, batch=COUNT, mixed=False, num_threads=0)
    for _ in range(3):
        assert sorted(global_ids([alone])) == list(range(COUNT))
    (mixed,) = streams(paths, hosts=1, batch=400, num_threads=0)
    ids = np.asarray(global_ids([mixed]))
    first, last = ids[ids < 10], ids[ids >= 17]
    for own, low, size in ((first, 0, 10), (last, 17, 13)):
        for epoch in range(len(own) // size):
            found = sorted(own[epoch * size : (epoch + 1) * size].tolist())
            assert found == list(range(low, low + size))


PROGRAM = """
import json, os, sys
from pathlib import Path
sys.path[:0] = sys.argv[5:]
from test_exactly_once import global_ids, streams

if __name__ == "__main__":
    folder, hosts, batch, workers = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    paths = [folder / f"{name}.tar" for name in "abc"]
    how = dict(hosts=hosts, batch=batch, num_workers=workers, num_threads=2)
    loaders = streams(paths, **how)
    if (folder / "state.json").exists():
        for loader in loaders:
            loader.set_state(json.loads((folder / "state.json").read_text()))
    with (folder / "lines.jsonl").open("a") as out:
        for number in range(10**6):
            place = loaders[0].get_state()["samples"]
            ids = global_ids(loaders)
            print(json.dumps([place, ids]), file=out, flush=True)
            if number % 3 == 2:
                (folder / "new.json").write_text(json.dumps(loaders[0].get_state()))
                os.replace(folder / "new.json", folder / "state.json")
"""


@pytest.mark.slow
def test_a_program_killed_at_random_points_sees_the_stream_of_one_that_is_not(paths, tmp_path):
    for path in paths:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "program.py").write_text(PROGRAM)
    here, chance = Path(__file__).parent, random.Random(3)
    out = tmp_path / "lines.jsonl"
    for _ in range(20):
        hosts, workers = chance.choice([1, 2, 3]), chance.choice([0, 0, 1, 2])
        batch = hosts * chance.randint(1, 12)
        command = [sys.executable, tmp_path / "program.py", tmp_path, hosts, batch, workers]
        wanted = (len(out.read_text().splitlines()) if out.exists() else 0) + chance.randint(1, 40)
        running = subprocess.Popen(
            [*map(str, command), str(here), str(here.parents[1])], env=os.environ | {"SLOWLY": "1"}
        )
        deadline = time.monotonic() + 120
        while not out.exists() or len(out.read_text().splitlines()) < wanted:
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        running.wait()
        text = out.read_text()
        out.write_text(text[: text.rfind("\n") + 1])
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    end = max(place + len(ids) for place, ids in lines)
    whole = global_ids(streams(paths, hosts=1, batch=end, num_threads=0))
    seen = np.zeros(end, bool)
    for place, ids in lines:
        assert ids == whole[place : place + len(ids)]
        seen[place : place + len(ids)] = True
    assert seen.all() and end > 10 * COUNT
