"""The same command started twice: one goes on, one is refused, and nothing is lost."""

import random
import subprocess
import time

import pytest

from tests.small.runs import TINY, command, losses
from vlp.training.checkpoint.checkpoints import find_checkpoint

pytestmark = pytest.mark.slow
STEPS = 60


def start(workdir, pairs, name, *, steps=STEPS):
    line, environment = command(
        "train",
        f"--config={TINY}:data={pairs},steps={steps}",
        f"--workdir={workdir}",
        "--config.checkpoint.every=2 steps",
        "--config.report.data=",
        "--config.train.tensorboard=False",
    )
    with workdir.with_suffix(f".{name}.log").open("w") as log:
        return subprocess.Popen(line, env=environment, stdout=log, stderr=subprocess.STDOUT)


def assert_one_went_on(workdir, processes, *, steps=STEPS):
    codes = {name: process.wait(timeout=240) for name, process in processes.items()}
    said = {name: workdir.with_suffix(f".{name}.log").read_text() for name in processes}
    assert sorted(codes.values()) == [0, 1], said
    refused = next(name for name, code in codes.items() if code == 1)
    assert "another process writes there" in said[refused].strip().splitlines()[-1]
    went_on = said[next(name for name, code in codes.items() if code == 0)]
    assert "removing" not in went_on and "failed" not in went_on
    assert sorted(losses(workdir)) == list(range(1, steps + 1))
    find_checkpoint(workdir / "checkpoints", step=steps)  # refuses a damaged one


def test_a_second_start_at_a_random_moment_is_refused(pairs, tmp_path):
    for attempt in range(2):
        workdir = tmp_path / f"run-{attempt}"
        first = start(workdir, pairs, "first")
        deadline, moment = time.monotonic() + 120, random.Random(time.time()).uniform(0, 3)
        while not (workdir / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(moment)
        second = start(workdir, pairs, "second")
        assert_one_went_on(workdir, {"first": first, "second": second})


def test_of_two_starts_at_once_in_a_new_folder_one_goes_on(pairs, tmp_path):
    workdir = tmp_path / "new"
    both = {name: start(workdir, pairs, name) for name in ("first", "second")}
    assert_one_went_on(workdir, both)
