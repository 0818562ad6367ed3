"""What fails on one of two processes ends both, soon and with its reason."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.small.runs import SMALL, TINY, command, losses

pytestmark = pytest.mark.slow
SOON_S = 60.0


def start(workdir, pairs, *, what, where, steps=300):
    """Two processes of one run, and what each says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for number in (0, 1):
        line, environment = command(
            "train",
            f"--config={TINY}:data={pairs},steps={steps}",
            f"--workdir={workdir}",
            "--config.checkpoint.every=4 steps",
            "--config.evals.same.every=6 steps",
            f"--coordinator=127.0.0.1:{port}",
            "--num-processes=2",
            f"--process-id={number}",
            devices=2,
        )
        line = [sys.executable, str(SMALL / "failing.py"), what, where, *line[3:]]
        environment |= {"PYTHONPATH": str(Path(__file__).parents[2])}
        with workdir.with_suffix(f".{number}.log").open("w") as log:
            processes.append(
                subprocess.Popen(line, env=environment, stdout=log, stderr=subprocess.STDOUT)
            )
    return processes


def ended(processes, workdir) -> tuple[list[int], list[str], float]:
    """Exit codes, what was said, and the seconds between the two ends."""
    deadline, ends = time.monotonic() + 240, {}
    while len(ends) < len(processes) and time.monotonic() < deadline:
        for process in processes:
            if process.poll() is not None:
                ends.setdefault(process.pid, time.monotonic())
        time.sleep(0.1)
    for process in processes:
        process.kill()
    codes = [process.wait() for process in processes]
    said = [workdir.with_suffix(f".{number}.log").read_text() for number in (0, 1)]
    between = max(ends.values()) - min(ends.values()) if len(ends) == 2 else float("inf")
    return codes, said, between


REASONS = {
    "data": "no such pictures",
    "loader": "the disk is gone",
    "checkpoint": "no space left for it",
    "evaluation": "nothing to judge",
}


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("data", "1"),
        ("loader", "0"),
        ("loader", "1"),
        ("checkpoint", "0"),
        ("checkpoint", "1"),
        ("evaluation", "1"),
    ],
)
def test_what_fails_on_one_process_ends_both_with_its_reason(pairs, tmp_path, what, where):
    workdir, reason = tmp_path / "run", REASONS[what]
    codes, said, between = ended(start(workdir, pairs, what=what, where=where), workdir)
    assert codes == [1, 1] and between < SOON_S, "\n---\n".join(said)
    other = 1 - int(where)
    assert all(reason in each for each in said), "\n---\n".join(said)
    assert f"process {where}" in said[other]
    assert (workdir / "config.json").exists() is (what != "data")


def test_the_end_of_a_killed_process_is_noticed(pairs, tmp_path):
    workdir = tmp_path / "run"
    codes, said, between = ended(start(workdir, pairs, what="killed", where="1"), workdir)
    assert codes == [1, -9] and between < SOON_S
    assert "was killed, or its machine is gone" in said[0]


def test_an_evaluation_that_fails_on_all_processes_is_left_out(pairs, tmp_path):
    workdir = tmp_path / "run"
    processes = start(workdir, pairs, what="evaluation", where="0,1", steps=8)
    codes, said, _ = ended(processes, workdir)
    assert codes == [0, 0], "\n---\n".join(said)
    assert "left out     same at step 6: nothing to judge" in said[0]
    assert len(losses(workdir)) == 8
