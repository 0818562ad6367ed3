"""However a run is cut and goes on, its stream is that of the run that nothing cut.

Hosts, workers and the batch size change in between; what is compared are the ids of every place.
"""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_makers import encoded, pairs, pixels, write_tar

from data_pipelines.loader import make_loader
from data_pipelines.order import Blocks, Mixture
from data_pipelines.sources import ConcatSource, TarSource
from data_pipelines.sources.parquet import ParquetSource
from tests.small.http_server import serving

COUNT = 30


class Number:
    """A field of the number that a sample's caption says, of which some samples take long."""

    absent = np.full((), -1, np.int64)

    def __call__(self, example):
        if os.environ.get("SLOWLY"):
            time.sleep(0.002)
        return np.asarray(int(example.source.captions(example.index)[0].split()[-1]))


def streams(paths, *, hosts, batch, mixed=True, **values):
    """The loader of each host."""
    made = (ParquetSource([path]) if str(path).endswith("parquet") else TarSource(path)
            for path in paths)  # fmt: skip
    source = ConcatSource([*made])
    mixture = Mixture((10, 17), (0.3, 0.45), drawn=(1,)) if mixed else None
    how = dict(fields={"number": Number()}, global_batch_size=batch, seed=1, mixture=mixture,
               process_count=hosts, max_reject_share=1.0) | values  # fmt: skip
    return [make_loader(source, process_index=host, **how) for host in range(hosts)]


def global_rows(loaders):
    """The ids of the next global batch, and the numbers that its captions say."""
    batches = [next(loader) for loader in loaders]
    return [
        np.concatenate([batch[name] for batch in batches]).tolist() for name in ("id", "number")
    ]


def global_ids(loaders):
    """The ids of the next global batch."""
    return global_rows(loaders)[0]


def write_parquet(path):
    """The last thirteen samples in row groups of four."""
    rows = range(17, COUNT)
    columns = {
        "image": [encoded(pixels(seed)) for seed in rows],
        "caption": [f"no {n}" for n in rows],
    }
    pq.write_table(pa.table(columns), path, row_group_size=4)
    return path


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
sys.path[:0] = sys.argv[6:]
from data_pipelines.io import remote, retries
from test_exactly_once import global_rows, streams

# Here, for workers begin with it as well: of each file there are many blocks to ask for.
remote.BLOCK_BYTES, retries.FIRST_WAIT_S = 4096, 0.01

if __name__ == "__main__":
    folder, place = Path(sys.argv[1]), sys.argv[2]
    hosts, batch, workers = map(int, sys.argv[3:6])
    addresses = [f"{place}/{name}" for name in os.environ["FILES"].split()]
    how = dict(hosts=hosts, batch=batch, num_workers=workers, num_threads=2)
    loaders = streams(addresses, mixed=os.environ["MIXED"] == "1", **how)
    if (folder / "state.json").exists():
        for loader in loaders:
            loader.set_state(json.loads((folder / "state.json").read_text()))
    with (folder / "lines.jsonl").open("a") as out:
        for number in range(10**6):
            place = loaders[0].get_state()["samples"]
            print(json.dumps([place, *global_rows(loaders)]), file=out, flush=True)
            if number % 3 == 2:
                (folder / "new.json").write_text(json.dumps(loaders[0].get_state()))
                os.replace(folder / "new.json", folder / "state.json")
"""


def run_killed(folder, place, files, *, starts, mixed=True):
    """What a program saw that was killed after each start: places, ids, and what captions say.

    A start is hosts, workers, rows of each host, and batches until it is killed.
    """
    (folder / "program.py").write_text(PROGRAM)
    here = Path(__file__).parent
    out = folder / "lines.jsonl"
    environment = os.environ | {"SLOWLY": "1", "FILES": " ".join(files), "MIXED": str(int(mixed))}
    for hosts, workers, rows, batches in starts:
        command = [
            sys.executable,
            folder / "program.py",
            folder,
            place,
            hosts,
            hosts * rows,
            workers,
        ]
        wanted = (len(out.read_text().splitlines()) if out.exists() else 0) + batches
        paths = [str(here), str(here.parents[1])]
        running = subprocess.Popen([*map(str, command), *paths], env=environment)
        deadline = time.monotonic() + 120
        while not out.exists() or len(out.read_text().splitlines()) < wanted:
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        running.wait()
        text = out.read_text()
        out.write_text(text[: text.rfind("\n") + 1])
    return [json.loads(line) for line in out.read_text().splitlines()]


def assert_the_stream(lines, whole):
    """Asserts that what was seen is the stream, every place of it, and each row its sample's."""
    seen = np.zeros(len(whole), bool)
    for place, ids, words in lines:
        assert ids == whole[place : place + len(ids)] == words
        seen[place : place + len(ids)] = True
    assert seen.all()


@pytest.mark.slow
def test_a_program_killed_at_random_points_sees_the_stream_of_one_that_is_not(paths, tmp_path):
    names, chance = [path.name for path in paths], random.Random(3)
    starts = [
        (chance.choice([1, 2, 3]), chance.choice([0, 0, 1, 2]), chance.randint(1, 12),
         chance.randint(1, 40))
        for _ in range(20)
    ]  # fmt: skip
    lines = run_killed(tmp_path, paths[0].parent, names, starts=starts)
    end = max(place + len(ids) for place, ids, _ in lines)
    assert end > 10 * COUNT
    assert_the_stream(lines, global_ids(streams(paths, hosts=1, batch=end, num_threads=0)))


@pytest.mark.slow
@pytest.mark.parametrize("mixed", [True, False])
def test_so_does_one_whose_data_a_failing_web_server_has(paths, tmp_path, monkeypatch, mixed):
    pytest.importorskip("aiohttp")
    web = tmp_path / "web"
    web.mkdir()
    (web / "b.tar.gz").write_bytes(gzip.compress(paths[1].read_bytes()))
    files = [shutil.copy(paths[0], web), web / "b.tar.gz", write_parquet(web / "c.parquet")]
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    with serving(web) as (place, faults):
        faults.latency, faults.repeats = 0.002, True
        # Of the processes that read at the same time each asks for a stretch once, so that none of
        # them meets the three faults twice.
        faults.plan = (500, "cut", 429, *[None] * 9)
        names = [Path(file).name for file in files]
        starts = [(2, 1, 3, 17), (3, 0, 5, 8), (1, 2, 7, 11), (1, 0, 1, 2), (2, 0, 4, 14)]
        lines = run_killed(tmp_path, place, names, starts=starts, mixed=mixed)
    end = max(place + len(ids) for place, ids, _ in lines)
    here = streams(files, hosts=1, batch=end, mixed=mixed, num_threads=0)
    whole = global_ids(here)
    assert_the_stream(lines, whole)
    if not mixed:
        for first in range(0, end - COUNT + 1, COUNT):
            assert sorted(whole[first : first + COUNT]) == list(range(COUNT))
    assert end > 3 * COUNT and sum(min(tries, 3) for tries in faults.tries.values()) > 30
