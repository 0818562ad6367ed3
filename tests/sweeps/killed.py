"""Sweeps in processes of their own, which are killed without a word."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.small.runs import command

# A sweep that kills its whole group before (or after) it puts a file of such a name in its place.
_AT_A_WRITE = """
import os, signal, sys
from vlp.cli.main import main
when, ending, *arguments = sys.argv[1:]
replace = os.replace
def killed(source, target):
    if when == "after":
        replace(source, target)
    if str(target).endswith(ending):
        os.killpg(0, signal.SIGKILL)
    replace(source, target)
os.replace = killed
sys.exit(main(arguments))
"""


class Group:
    """The processes of a sweep, in a group of their own.

    Args:
        lines: a command line for each process.
        environment: of all.
    """

    def __init__(self, lines: Sequence[list[str]], environment: dict[str, str]) -> None:
        self.processes: list[subprocess.Popen] = []
        for line in lines:
            leader = self.processes[0].pid if self.processes else 0
            self.processes.append(
                subprocess.Popen(
                    line,
                    env=environment,
                    process_group=leader,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )

    def begins(self, out: Path, *, before: bytes) -> None:
        """Waits until the sweep has taken its folder, whose lock said something else before."""
        while self.lives() and holder(out) in (b"", before):
            time.sleep(0.005)

    def lives(self) -> bool:
        """Whether a process has not ended."""
        return any(process.poll() is None for process in self.processes)

    def killed(self, *, after_s: float) -> bool:
        """Kills all of them at once after a while; False where they have ended well by then."""
        until = time.monotonic() + after_s
        while self.lives() and time.monotonic() < until:
            time.sleep(0.005)
        if self.lives():
            os.killpg(self.processes[0].pid, signal.SIGKILL)
        codes = self.ended(0, -signal.SIGKILL)
        return -signal.SIGKILL in codes

    def ended(self, *wanted: int) -> list[int]:
        """The exit codes, all of which are wanted, once all have ended."""
        said = [process.communicate(timeout=200)[1] for process in self.processes]
        codes = [process.returncode for process in self.processes]
        assert set(codes) <= set(wanted), "\n".join(said)
        return codes


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def holder(out: Path) -> bytes:
    """What the lock of a folder says."""
    try:
        return (out / ".vlp.lock").read_bytes()
    except FileNotFoundError:
        return b""


def killed_at_a_write(when: str, ending: str, *arguments: str) -> None:
    """Runs `vlp` until it is killed "before" or "after" it puts a file in its place."""
    line, environment = command(*arguments)
    place = line.index("-m")
    own = [*line[:place], "-c", _AT_A_WRITE, when, ending, *arguments]
    Group([own], environment).ended(-signal.SIGKILL)
