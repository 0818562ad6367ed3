"""Who holds a lock: what it says of its holder, and whether he is known to be gone."""

import contextlib
import os
import secrets
import shlex
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Any


def refusal(folder: Any, holder: dict[str, Any]) -> str:
    """What is said where another one holds a lock."""
    return f"{folder}: another process writes there, {_named(holder)}; wait for it, or end it"


def say_watching(holder: dict[str, Any], folder: Any, *, seconds: float) -> None:
    """Says that a lock is looked at, which takes a while."""
    print(
        f"{_named(holder)} left a lock in {folder}; watching for up to {seconds:.0f} s "
        "whether it is alive",
        file=sys.stderr,
    )


def is_dead_here(holder: dict[str, Any]) -> bool:
    """Whether a holder is known to be gone: of this machine, and none of its processes now."""
    here = about_this_process()
    if any(holder.get(name) != here[name] for name in ("machine", "processes")):
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, KeyError, ValueError):
        return False
    return False


def about_this_process() -> dict[str, Any]:
    """What a lock says of its holder, with a token that is drawn."""
    return {
        "token": secrets.token_hex(8),
        "host": socket.gethostname(),
        "machine": machine(),
        "processes": _numbering(),
        "pid": os.getpid(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv)[:200],
    }


def machine() -> str:
    """Tells machines apart even where they have one name, as containers may."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _numbering() -> str:
    """Tells apart containers of one machine, each of which numbers its processes from 1."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _named(holder: dict[str, Any]) -> str:
    if not holder:
        return "it has just begun"
    return f"pid {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
