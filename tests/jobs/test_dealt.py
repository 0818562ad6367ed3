"""Two processes embed a data set together: each loads its share, and both have all of it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.opening import open_source
from tests.jobs.dealt_worker import Counted, evaluator
from tests.small.runs import write_pairs

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_each_process_loads_its_share_and_has_what_one_alone_has(tmp_path):
    data = str(write_pairs(tmp_path / "pairs.tar", replace={"red-dot-0.png": b"<html>"}))
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    devices = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "tests.jobs.dealt_worker"]
    places = [tmp_path / f"{process}.npz" for process in (0, 1)]
    workers = [
        subprocess.Popen(
            [*line, str(process), str(port), data, str(place)],
            cwd=ROOT,
            env=os.environ | devices,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process, place in enumerate(places)
    ]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(said)

    source = Counted(open_source(data))
    alone = evaluator(source).images("data")
    found = [np.load(place) for place in places]
    for each in found:
        np.testing.assert_array_equal(each["ids"], alone.ids)
        np.testing.assert_allclose(each["zimg"], alone.zimg, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(each["again"], alone.zimg, rtol=1e-5, atol=1e-6)
    for name in ("loaded", "loaded_again"):
        loaded = [set(each[name].tolist()) for each in found]
        assert loaded[0] | loaded[1] == set(source.loaded) and not loaded[0] & loaded[1]
        assert abs(len(loaded[0]) - len(loaded[1])) <= 16  # a batch: eight rows a device
    for text in said:
        assert f"rejects {dict(alone.rejects)}" in text
        assert "sample 5: Input/output error" in text
