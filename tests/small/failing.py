"""`vlp ...` in which something fails on some of the processes: python failing.py WHAT WHERE ...

WHERE are the numbers of these processes, joined by commas. Where $FAIL_ONCE names a file, what
fails makes it, and nothing fails while it is there.
"""

import os
import signal
import sys
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from data_pipelines.loader import Loader
from vlp.cli.main import main
from vlp.parallel import lifeline
from vlp.run import evaluations

SIGNALS = {
    "killed": signal.SIGKILL,
    "preempted": signal.SIGTERM,
    "stopped": signal.SIGSTOP,
}


def fails(kind: type, name: str, act, *, where: set[int], after: int = 0) -> None:
    """Lets a method act otherwise on these processes, once it was called so often."""
    before, calls = getattr(kind, name), []

    def method(self, *arguments, **settings):
        calls.append(1)
        if len(calls) > after and jax.process_index() in where:
            if "FAIL_ONCE" in os.environ:
                Path(os.environ["FAIL_ONCE"]).touch()
            act()
        return before(self, *arguments, **settings)

    setattr(kind, name, method)


def raises(error: Exception):
    """What raises it."""

    def act():
        raise error

    return act


def sends(number: signal.Signals):
    """What sends this signal to its own process."""

    def act():
        os.kill(os.getpid(), number)

    return act


def set_up(what: str, where: set[int]) -> None:
    """Makes it fail."""
    if what == "loader":
        fails(Loader, "__next__", raises(OSError(5, "the disk is gone")), where=where, after=2)
    elif what == "data":
        fails(Loader, "check", raises(ValueError("no such pictures")), where=where)
    elif what == "checkpoint":
        error = OSError(28, "no space left for it")
        fails(ocp.AsyncCheckpointer, "wait_until_finished", raises(error), where=where, after=1)
    elif what == "evaluation":
        fails(evaluations, "evaluate", raises(ValueError("nothing to judge")), where=where)
    elif what in SIGNALS:
        fails(Loader, "__next__", sends(SIGNALS[what]), where=where, after=2)
    if what == "stopped":
        lifeline.BEAT_S, lifeline.SILENT_S = 1.0, 15.0


if __name__ == "__main__":
    if not Path(os.environ.get("FAIL_ONCE", "")).is_file():
        set_up(sys.argv[1], {int(number) for number in sys.argv[2].split(",")})
    sys.exit(main(sys.argv[3:]))
