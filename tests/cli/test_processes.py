"""The same run on one device, on eight, sharded either way, and over two processes."""

import json
import socket
import subprocess

import numpy as np
import pytest

from tests.small.runs import TINY, command, losses
from vlp.training.checkpoint.checkpoints import read_json

pytestmark = pytest.mark.slow
STEPS = 10


def start(workdir, pairs, *flags, devices):
    """`vlp train` for ten steps in a process of its own."""
    line, environment = command(
        "train",
        f"--config={TINY}:data={pairs},steps={STEPS}",
        f"--workdir={workdir}",
        "--config.checkpoint.every=0 steps",
        *flags,
        devices=devices,
    )
    with workdir.with_suffix(f".{len(flags)}-{flags[-1][-1:]}.log").open("w") as log:
        return subprocess.Popen(line, env=environment, stdout=log, stderr=subprocess.STDOUT)


@pytest.fixture
def one_device(pairs, tmp_path):
    """The losses of the run on one device."""
    workdir = tmp_path / "one"
    assert start(workdir, pairs, "--config.seed=0", devices=1).wait(timeout=240) == 0
    return losses(workdir)


def test_two_processes_give_the_losses_of_one(pairs, tmp_path, one_device):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workdir = tmp_path / "two"
    join = [f"--coordinator=127.0.0.1:{port}", "--num-processes=2"]
    join.append("--config.export.to=stablehlo")
    both = [start(workdir, pairs, *join, f"--process-id={i}", devices=4) for i in (0, 1)]
    codes = [process.wait(timeout=240) for process in both]
    said = "".join(path.read_text() for path in tmp_path.glob("two*.log"))
    assert codes == [0, 0], said
    assert sorted(one_device) == list(range(1, STEPS + 1))
    np.testing.assert_allclose(list(losses(workdir).values()), list(one_device.values()), rtol=1e-5)
    assert (workdir / "results" / "same.json").exists() and (workdir / "report.html").exists()
    data = read_json(workdir / "checkpoints" / str(STEPS), "loader")
    assert data["seen"] == data["samples"] > 0  # by both
    # By a process of its own, while the others wait.
    exported = json.loads((workdir / "exported" / "parity.json").read_text())
    assert exported["verified"] and exported["step"] == STEPS


@pytest.mark.parametrize("mesh", ["--config.mesh.data=8", "--config.mesh.fsdp=8"])
def test_eight_devices_give_the_losses_of_one(pairs, tmp_path, one_device, mesh):
    workdir = tmp_path / "eight"
    assert start(workdir, pairs, mesh, devices=8).wait(timeout=240) == 0
    np.testing.assert_allclose(list(losses(workdir).values()), list(one_device.values()), rtol=1e-5)
