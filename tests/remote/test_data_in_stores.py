"""Tars read from a web server, from S3 and from GCS: nothing is lost, whatever the network does."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest

from data_pipelines.faults import Reject
from data_pipelines.io import FileChanged, blocks, exists, open_file, remote, retries
from data_pipelines.opening import open_source
from data_pipelines.sources import TarSource, build_indexes
from tests.small.runs import write_pairs

ROOT = Path(__file__).parents[2]
needs_http = pytest.mark.skipif(importlib.util.find_spec("aiohttp") is None, reason="needs aiohttp")
pytestmark = [
    pytest.mark.usefixtures("small_blocks"),
    # aiohttp leaves its session to the collector when a process ends.
    pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
]


def everything(source):
    return [(source.key(i), source.image(i), source.captions(i)) for i in range(len(source))]


@needs_http
def test_a_web_server_that_fails_again_and_again_loses_nothing(web):
    folder, place, faults = web
    paths = [write_pairs(folder / f"{n}.tar") for n in range(3)]
    here = TarSource(paths)
    faults.plan = (500, "cut", 429, 503)
    there = open_source(f"{place}/{{0..2}}.tar")
    assert there.fingerprint == here.fingerprint and everything(there) == everything(here)
    assert faults.reads > 80
    assert len(open_source(f"{place}/*.tar")) == len(open_source(f"{place}/")) == len(here)


@needs_http
def test_a_web_file_that_changes_or_goes_is_rejected(web, monkeypatch):
    folder, place, _ = web
    paths = [write_pairs(folder / f"{n}.tar", copies=1) for n in range(3)]
    source = TarSource([f"{place}/{path.name}" for path in paths])
    whole = everything(source)
    monkeypatch.setattr(remote, "CHECKED_EVERY_S", -1.0)
    os.utime(paths[0], ns=(1, 1))
    blocks._after_fork()
    for index in (0, 5):
        with pytest.raises(Reject, match="shard changed"):
            source.image(index)
    paths[1].unlink()
    with pytest.raises(Reject, match="shard gone"):
        source.image(12)
    assert source.image(24) == whole[24][1]


@needs_http
@pytest.mark.parametrize("listed", [True, False])
def test_a_tar_that_was_not_there_when_it_was_indexed_is_read_once_it_is(web, listed):
    folder, place, faults = web
    faults.listings = listed
    spec, paths = f"{place}/{{0..1}}.tar", [folder / f"{n}.tar" for n in range(2)]
    write_pairs(paths[0])
    (built,) = build_indexes([f"{place}/{path.name}" for path in paths])
    assert [len(tar) for tar in built.tars] == [36, 0]
    assert len(open_source(spec)) == 36
    write_pairs(paths[1])
    faults.plan = (500,) * retries.TRIES
    for read in (open_source, lambda _: build_indexes([f"{place}/1.tar"])):
        with pytest.raises(ValueError, match="1.tar cannot be read"):
            read(spec)
    faults.plan = ()
    assert everything(open_source(spec)) == everything(TarSource(paths))


@needs_http
def test_a_server_without_ranges_is_an_error_and_no_wrong_bytes(web):
    folder, place, faults = web
    (folder / "x").write_bytes(bytes(3 * 4096))
    file = open_file(f"{place}/x")
    faults.ranges = False
    with pytest.raises(OSError, match="bytes 4096 to 8192 were asked for, 12288 came"):
        file.read(5000, 10)
    (folder / "x").write_bytes(bytes(4 * 4096))
    with pytest.raises(FileChanged):
        file.read(5000, 10)


@needs_http
@pytest.mark.parametrize(("status", "kind"), [(403, PermissionError), (409, PermissionError),
                                              (500, OSError), (429, OSError)])  # fmt: skip
def test_a_server_that_may_not_say_whether_a_file_is_there_is_told_from_one_that_is_away(
    web, status, kind
):
    folder, place, faults = web
    assert not exists(f"{place}/tars.index")
    faults.status = status
    with pytest.raises(OSError, match=f"the server answers {status}") as caught:
        exists(f"{place}/tars.index")
    assert type(caught.value) is kind


READER = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
from data_pipelines.sources import TarSource

def read(given):
    source, indices = given
    return [(source.key(i), source.image(i), source.captions(i)) for i in indices]

if __name__ == "__main__":
    source = TarSource(sys.argv[2:])
    before = read((source, range(len(source))))  # threads and connections are there now
    parts = [(source, range(first, len(source), 3)) for first in range(3)]
    context = multiprocessing.get_context(sys.argv[1])
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        found = [*pool.map(read, parts)]
    for first, part in enumerate(found):
        assert part == before[first::3], sys.argv[1]
    print("equal")
"""


@needs_http
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fork", "spawn"])
def test_worker_processes_read_a_store_after_their_parent_did(web, tmp_path, kind):
    folder, place, faults = web
    names = [write_pairs(folder / f"{n}.tar").name for n in range(2)]
    faults.plan = (503,)
    script = tmp_path / "reader.py"
    script.write_text(READER)
    line = [sys.executable, script, kind, *(f"{place}/{name}" for name in names)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "equal\n", done.stderr


@pytest.mark.slow
def test_tars_of_s3_and_gcs_are_the_same_data(store, tmp_path):
    paths = [write_pairs(tmp_path / f"{n}.tar") for n in range(2)]
    here = TarSource(paths)
    files, root = fsspec.core.url_to_fs(f"{store}/data")
    for path in paths:
        files.pipe_file(f"{root}/{path.name}", path.read_bytes())
    (built,) = build_indexes([f"{store}/data/{path.name}" for path in paths])
    assert built.scanned == 2 and str(built.path).startswith(os.environ["VLP_CACHE"])
    assert build_indexes([f"{store}/data/0.tar"])[0].scanned == 0
    there = open_source(f"{store}/data/*.tar")
    assert there.fingerprint == here.fingerprint and everything(there) == everything(here)
    data = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes()
    files.pipe_file(f"{root}/x", data)
    file = open_file(f"{store}/data/x")
    assert file.read(3000, 9000) == data[3000:12000]
    files.rm_file(f"{root}/1.tar")
    source = open_source(f"{store}/data/*.tar")
    assert len(source) == len(here) and len(source.survey()[0].gone) == 1
    files.pipe_file(f"{root}/1.tar", paths[0].read_bytes() + bytes(512))
    with pytest.raises(Reject, match="shard changed"):
        open_source(f"{store}/data/*.tar")[36]
