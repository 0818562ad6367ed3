"""The launcher of a host list, with the shell of this machine in place of ssh."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "launch" / "hosts.py"
# Counts its starts in a file of its own, then does what is asked for in this start.
SCRIPT = """\
me=${3#--process-id=}
trap 'echo saved $me >> said; exit 75' TERM
echo start >> $me.starts; starts=$(wc -l < $me.starts)
eval "$DO"
"""


@pytest.fixture
def start(tmp_path):
    """Starts a shell script on some hosts: the launcher's process, to be waited for."""
    started = []

    def run(do, *flags, hosts="a,b"):
        (tmp_path / "script.sh").write_text(SCRIPT)
        line = [sys.executable, LAUNCHER, f"--hosts={hosts}", "--shell=bash -c", *flags]
        started.append(
            subprocess.Popen(
                [*line, "--", "env", f"DO={do}", "bash", "script.sh"],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def starts(folder):
    return [path.read_text().count("start") for path in sorted(folder.glob("*.starts"))]


def saved(folder):
    """The processes that were told to stop and saved."""
    return sorted((folder / "said").read_text().replace("saved", "").split())


def test_a_dry_run_says_each_line_and_starts_nothing(tmp_path, start):
    said = start("exit 0", "--dry-run").communicate()[0].splitlines()
    commands = [line for line in said if "script.sh" in line]
    assert len(commands) == 2 and starts(tmp_path) == []
    for number, line in enumerate(commands):
        join = f"--coordinator=a:12321 --num-processes=2 --process-id={number}"
        assert join in line


def test_what_is_printed_is_what_ssh_is_given(tmp_path):
    line = [sys.executable, LAUNCHER, "--hosts=a", "--dry-run", "--", "vlp", "train", "--x=a b"]
    said = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.startswith("ssh -o BatchMode=yes") and f"cd {tmp_path}" in said
    assert "--num-processes" not in said  # one host needs no coordinator


@pytest.mark.parametrize(
    ("do", "code", "runs"),
    [
        ("exit 0", 0, 1),
        ("exit 2", 2, 1),
        ("exit 1", 1, 3),
        ("[ $starts = 4 ] || exit 75", 0, 4),
        ("[ $starts = 3 ] || kill -KILL $$", 0, 3),
    ],
)
def test_all_start_again_as_their_exit_codes_say(tmp_path, start, do, code, runs):
    process = start(do, "--restarts=2")
    said = process.communicate()[0]
    assert process.returncode == code and starts(tmp_path) == [runs, runs], said


def test_a_host_of_a_file_that_fails_ends_those_that_hang(tmp_path, start):
    (tmp_path / "hosts").write_text("a\nb\nc\n\n")
    do = "case $me in 0) exit 1;; 1) kill -STOP $$;; 2) while true; do sleep 0.1; done;; esac"
    process = start(do, "--restarts=0", "--grace=1", hosts="hosts")
    said = process.communicate()[0]
    assert process.returncode == 1
    for line in ("a ended with 1", "b ended with 137", "c ended with 75"):
        assert line in said


def test_sigterm_lets_all_save_and_starts_nothing_again(tmp_path, start, until):
    process = start("while true; do sleep 0.1; done")
    until(lambda: starts(tmp_path) == [1, 1])
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[0]
    assert process.returncode == 75 and starts(tmp_path) == [1, 1], said
    assert saved(tmp_path) == ["0", "1"]


def test_the_hosts_save_and_stop_when_the_launcher_is_killed(tmp_path, start, until):
    process = start("while true; do sleep 0.1; done")
    until(lambda: starts(tmp_path) == [1, 1])
    process.kill()
    process.communicate()
    until(lambda: (tmp_path / "said").exists() and saved(tmp_path) == ["0", "1"])


def test_the_last_words_of_another_host_are_shown(start):
    said = start("echo the disk is gone; exit $me", "--restarts=0").communicate()[0]
    assert "b ended with 1: the disk is gone" in said


def test_no_command_and_no_host_are_refused():
    for flags in (["--hosts=a"], ["--hosts=,", "--", "vlp"]):
        done = subprocess.run([sys.executable, LAUNCHER, *flags], capture_output=True, text=True)
        assert done.returncode == 2 and "must" in done.stderr
