"""Two processes of four devices train as one process does, and stop together."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy import Loader

from vlp.training.checkpoint import manifest
from vlp.training.checkpoint.checkpoints import Checkpoints, saved_steps
from vlp.training.loop.loop import train
from vlp.training.loop.trackers import JsonLines

HERE = Path(__file__).parent


def losses(path):
    return [json.loads(line)["train/loss"] for line in path.read_text().splitlines()]


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def start_workers(workdir):
    devices = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"}
    environment = os.environ | devices | {"PYTHONPATH": str(HERE.parents[1])}
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), str(process), str(port), str(workdir)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in (0, 1)
    ]


@pytest.mark.slow
def test_two_processes_stop_together_and_one_goes_on_from_their_checkpoint(training, tmp_path):
    workers = start_workers(tmp_path)
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [75, 75], "\n".join(outputs)
    stopped = [line for output in outputs for line in output.splitlines() if "stopped" in line]
    assert stopped[0] == stopped[1]
    step = int(stopped[0].split()[1])
    assert 5 <= step <= 7
    assert saved_steps(tmp_path / "checkpoints") == sorted({3, step} | ({6} if step > 6 else set()))
    assert (tmp_path / "metrics-1.jsonl").read_text() == ""

    listed = json.loads((tmp_path / "checkpoints" / "3" / manifest.NAME).read_text())["manifest"]
    for process in (0, 1):
        assert f"params/ocdbt.process_{process}/" in listed
    assert not list((tmp_path / "checkpoints").rglob("sums-*"))

    alone = train(
        training.init(),
        Loader(),
        training_at=lambda step: training,
        steps=12,
        trackers=[JsonLines(tmp_path / "alone.jsonl")],
    )
    want = losses(tmp_path / "alone.jsonl")
    np.testing.assert_allclose(losses(tmp_path / "metrics-0.jsonl"), want[:step], rtol=1e-5)

    checkpoints = Checkpoints(tmp_path / "checkpoints")
    restored = checkpoints.restore(training.abstract)
    loader = Loader()
    loader.set_state(restored.loader)
    resumed = train(
        restored.state,
        loader,
        training_at=lambda step: training,
        steps=12,
        trackers=[JsonLines(tmp_path / "resumed.jsonl")],
    )
    checkpoints.close()
    np.testing.assert_allclose(losses(tmp_path / "resumed.jsonl"), want[step:], rtol=1e-5)
    np.testing.assert_allclose(
        resumed.state.params["text"]["tokens"], alone.state.params["text"]["tokens"], rtol=1e-4
    )
