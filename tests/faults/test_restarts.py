"""What ends one of several processes ends all, and a launcher's next start goes on to the bit."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.small.runs import SMALL, losses, run_command, write_pairs
from vlp.training.checkpoint import contents
from vlp.training.checkpoint.checkpoints import find_checkpoint, read_json

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).parent / "config.py"
STEPS, DEVICES = 8, 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """36 coloured shapes in a tar."""
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs.tar")


def flags(data, workdir):
    """Of `vlp train`."""
    return [
        "train",
        f"--config={CONFIG}:data={data},steps={STEPS}",
        f"--workdir={workdir}",
        "--log-ids",
    ]


def launch(folder, data, *, count, what="nothing", where="0", grace=60):
    """Runs it over so many processes of this machine, from launch/hosts.py."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(DEVICES // count),
        "PYTHONPATH": str(ROOT),
        "FAIL_ONCE": str(folder / "failed"),
    }
    line = [
        *(sys.executable, ROOT / "launch" / "hosts.py", f"--port={port}", f"--grace={grace}"),
        *("--hosts=" + ",".join(["127.0.0.1"] * count), "--shell=bash -c"),
        *(f"--directory={ROOT}", f"--logs={folder / 'logs'}", "--restarts=1", "--"),
        *(sys.executable, SMALL / "failing.py", what, where, *flags(data, folder / "run")),
    ]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=400)
    logs = [path.read_text() for path in sorted((folder / "logs").glob("*"))]
    return done.returncode, done.stdout + done.stderr, logs


def state(folder):
    """The bytes of every array of the train state at the end, and where the data stood."""
    checkpoint = find_checkpoint(folder / "run" / "checkpoints", step=STEPS)
    arrays = contents.read_arrays(checkpoint, contents.saved_shapes(checkpoint))
    found = {str(path): leaf.tobytes() for path, leaf in jax.tree.leaves_with_path(arrays)}
    return found | {"loader": read_json(checkpoint, "loader")}


def ids(folder):
    """What each process wrote of the samples it saw."""
    return {path.name: path.read_text() for path in (folder / "run").glob("ids-*.jsonl")}


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The folder of a run over so many processes that nothing ends."""
    folders = {}

    def run(count):
        if count not in folders:
            folders[count] = tmp_path_factory.mktemp(f"whole-{count}")
            code, said, logs = launch(folders[count], data, count=count)
            assert code == 0, "\n---\n".join([said, *logs])
        return folders[count]

    return run


@pytest.mark.parametrize("count", [2, 4])
def test_processes_of_the_launcher_give_the_losses_of_one(data, tmp_path, whole, count):
    assert run_command(*flags(data, tmp_path / "one"), devices=DEVICES).returncode == 0
    want = losses(tmp_path / "one")
    assert sorted(want) == list(range(1, STEPS + 1))
    found = losses(whole(count) / "run")
    np.testing.assert_allclose(list(found.values()), list(want.values()), rtol=1e-5)


REASONS = {
    "killed": "process {where} was killed, or its machine is gone",
    "preempted": "stopped at step",
    "stopped": "process {where} gave no sign of life for 15 s",
    "loader": "the disk is gone",
}


@pytest.mark.parametrize(
    ("count", "what", "where"),
    [
        (2, "preempted", 1),
        (2, "killed", 0),
        (2, "stopped", 1),
        (2, "loader", 1),
        (4, "preempted", 2),
        (4, "killed", 3),
        (4, "stopped", 0),
        (4, "loader", 1),
    ],
)
def test_what_ends_one_process_ends_all_and_the_next_start_goes_on_to_the_bit(
    data, tmp_path, whole, count, what, where
):
    grace = 10 if what == "stopped" else 120  # the stopped one ends only when it is made to
    code, said, logs = launch(tmp_path, data, count=count, what=what, where=str(where), grace=grace)
    everything = "\n---\n".join([said, *logs])
    assert code == 0 and said.count("starting again") == 1, everything
    first_start = [line for line in said.splitlines() if " ended with " in line][:count]
    codes = [int(line.split(" ended with ")[1].split(":")[0]) for line in first_start]
    lost = {"killed": 137, "stopped": 137, "preempted": 75, "loader": 1}[what]
    others = 75 if what == "preempted" else 1
    assert codes == [lost if number == where else others for number in range(count)], everything
    for number, each in enumerate([said, *logs]):
        if number != where or what in ("preempted", "loader"):
            assert REASONS[what].format(where=where) in each, f"{number}: {everything}"
    assert losses(tmp_path / "run") == losses(whole(count) / "run")
    assert ids(tmp_path) == ids(whole(count)) and len(ids(tmp_path)) == count
    assert state(tmp_path) == state(whole(count))
