"""Whole runs on S3 and GCS, by servers of their protocols: killed, resumed, judged, shared."""

import json
import socket
import subprocess
import time

import fsspec
import jax
import numpy as np
import pytest
from etils import epath

from tests.small.runs import TINY, command, losses, run_command
from vlp.remote import names_in, remote
from vlp.training.checkpoint import manifest
from vlp.training.checkpoint.checkpoints import Checkpoints, load_params, saved_steps

pytestmark = pytest.mark.slow


def arguments(pairs, workdir, *flags, steps=1000):
    return (
        "train",
        f"--config={TINY}:data={pairs},steps={steps}",
        f"--workdir={workdir}",
        f"--config.checkpoint.every={steps // 10} steps",
        *flags,
    )


def started(*given, log, devices=1):
    line, environment = command(*given, devices=devices)
    with log.open("w") as out:
        return subprocess.Popen(line, env=environment, stdout=out, stderr=subprocess.STDOUT)


def remote_losses(workdir):
    rows = [json.loads(row) for row in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["train/loss"]) for row in rows]


def test_checkpoints_are_whole_or_not_there(store):
    directory = remote(f"{store}/checkpoints")
    state = {"step": jax.numpy.ones(()), "params": {"w": jax.numpy.arange(6.0)}}
    seen = []
    checkpoints = Checkpoints(
        directory, keep=2, before_commit=lambda: seen.append(saved_steps(directory))
    )
    for step in (1, 2, 3):
        checkpoints.save(
            step, state | {"step": jax.numpy.full((), float(step))}, loader={"batch": step}
        )
    checkpoints.close()
    assert seen == [[], [1], [1, 2]]
    assert saved_steps(directory) == [2, 3]
    restored = Checkpoints(directory).restore(jax.eval_shape(lambda: state))
    assert (restored.step, int(restored.state["step"])) == (3, 3)
    (directory / "3" / manifest.NAME).unlink()
    np.testing.assert_array_equal(load_params(directory)["w"], np.arange(6.0))
    half = directory / "4" / "params" / "d" / "x"
    half.write_text("of a run that was killed")
    assert saved_steps(directory) == [2, 3]
    again = Checkpoints(directory)
    assert again.newest().step == 2
    assert names_in(directory) == ["2", "3.damaged-1"]


def test_what_is_kept_and_what_is_refused_is_the_same_in_a_store(store):
    directory = remote(f"{store}/checkpoints")
    checkpoints = Checkpoints(directory, keep=1, keep_every=30)
    for step in (1, 2, 3, 4, 5):
        state = {"step": jax.numpy.full((), float(step)), "params": {"w": jax.numpy.ones(3)}}
        checkpoints.save(step, state, loader={"samples": 10 * step})
    checkpoints.close()
    assert saved_steps(directory) == [3, 5]
    for step in (3, 5):
        (directory / str(step) / manifest.NAME).unlink()
    for _ in range(2):
        with pytest.raises(ValueError, match="none of 3.damaged-1, 5.damaged-1 is"):
            Checkpoints(directory).newest()


def test_a_run_that_is_killed_and_resumed_is_the_one_in_one_go_and_can_be_judged(
    store, pairs, tmp_path
):
    workdir, log = remote(f"{store}/runs/killed"), tmp_path / "log"
    process = started(*arguments(pairs, workdir), log=log)
    while "saved checkpoint 100 " not in log.read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    second = run_command(*arguments(pairs, workdir))
    assert second.returncode == 1 and "another process writes there" in second.stderr
    process.kill()
    process.wait()
    reached = saved_steps(workdir / "checkpoints")[-1]
    assert remote_losses(workdir)[-1][0] >= reached  # no checkpoint without its metrics
    ended = run_command(*arguments(pairs, workdir))
    assert ended.returncode == 0, ended.stderr
    whole = run_command(*arguments(pairs, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    assert dict(remote_losses(workdir)) == losses(tmp_path / "whole")
    assert "of 2 starts" in ended.stdout

    for name in ("config.json", "card.json", "report.html", "exported/parity.json"):
        assert (workdir / name).exists(), name
    assert not (workdir / ".vlp.lock").exists()
    out = f"{store}/results/same.json"
    judged = run_command(
        "eval", f"--model={workdir}", f"--data={pairs}", "--task=retrieval", f"--out={out}"
    )
    assert judged.returncode == 0, judged.stderr
    here = json.loads((tmp_path / "whole" / "results" / "same.json").read_text())["metrics"]
    there = json.loads(remote(out).read_text())["metrics"]
    assert there == {name: here[name] for name in there}


def test_two_processes_share_a_run(store, pairs, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    workdir = remote(f"{store}/runs/two")
    join = [f"--coordinator=127.0.0.1:{port}", "--num-processes=2", "--log-ids"]
    join += ["--config.mesh.fsdp=4", "--config.mesh.fsdp_min_elements=64"]  # each writes its part
    logs = [tmp_path / "0.log", tmp_path / "1.log"]
    both = [
        started(
            *arguments(
                pairs, workdir, *join, f"--process-id={i}", "--config.export.to=stablehlo", steps=20
            ),
            log=logs[i],
            devices=2,
        )
        for i in (0, 1)
    ]
    codes = [process.wait(timeout=240) for process in both]
    assert codes == [0, 0], "".join(log.read_text() for log in logs)
    listed = json.loads((workdir / "checkpoints/20" / manifest.NAME).read_text())["manifest"]
    assert "ocdbt.process_1/" in listed
    assert {"ids-0.jsonl", "ids-1.jsonl", "report.html"} <= set(names_in(workdir))
    files, root = fsspec.core.url_to_fs(str(workdir))
    assert not [file for file in files.find(root) if "sums-" in file]
    assert isinstance(workdir, epath.Path)
