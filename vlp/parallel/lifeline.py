"""What fails on one process ends all of a run, within seconds and with its reason.

A process that fails leaves the others in a collective that never ends, or to a message about a lost
connection. So each process keeps a line to process 0, over which it says why it fails; process 0
passes that on, and every process prints it and ends. A line that breaks without a word tells of a
process that was killed, or of a machine that is gone; one over which nothing comes, of one that is
stopped or hangs.
"""

import contextlib
import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

JOIN_S = 30.0  # for all lines to stand
PASS_ON_S = 2.0  # between passing a reason on and ending, so that it arrives
BEAT_S = 5.0  # between two signs of life
SILENT_S = 60.0  # without one a process counts as stopped; JAX's own limit is 100 s
CAUSE_S = 10.0  # what a broken collective may wait for the reason behind it
_ADDRESS_BYTES = 1000
_NUMBER_BYTES = 8
_log = logging.getLogger("vlp")

# To process 0, or of process 0 to all others, by their number
Lines = dict[int, socket.socket]


class Lifeline:
    """While entered, an error here or on another process ends all processes; exit code 1.

    In a run of one process an error just passes through. Every process must enter at the same time.

    Args:
        at_end: called before this process ends so.
    """

    def __init__(self, *, at_end: Callable[[], None] = lambda: None) -> None:
        self._at_end = at_end
        self._lines: Lines = {}
        self._ending = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> "Lifeline":
        if jax.process_count() > 1:
            self._lines = _joined()
            for number, line in self._lines.items():
                threading.Thread(target=self._listen, args=(number, line), daemon=True).start()
            threading.Thread(target=self._beat, daemon=True, name="lifeline").start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if jax.process_count() == 1:
            return
        if error is None:
            self._over.set()
            self._tell({"done": True})
            return
        if os.environ.get("VLP_DEBUG"):
            traceback.print_exception(error)
        if isinstance(error, jax.errors.JaxRuntimeError):
            time.sleep(CAUSE_S)  # a lost connection, most likely; the others know more
        self._end(str(error) or type(error).__name__, process=jax.process_index())

    def _listen(self, number: int, line: socket.socket) -> None:
        """Hears the process of this number, until it is done or all end."""
        what = "was killed, or its machine is gone"
        try:
            with line.makefile() as file:
                for said in map(json.loads, file):
                    if said.get("done"):
                        return
                    if "reason" in said:
                        self._end(said["reason"], process=said["process"], heard=True)
        except TimeoutError:
            what = f"gave no sign of life for {SILENT_S:.0f} s: it is stopped, or its machine hangs"
        except (OSError, ValueError):
            pass
        if not self._over.is_set():
            self._end(f"process {number} {what}", process=None, heard=True)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            self._tell({})

    def _end(self, reason: str, *, process: int | None, heard: bool = False) -> None:
        """Says why on all processes and ends this one, whatever its other threads wait for.

        What was heard is known to process 0, or process 0 is gone, and JAX ends this process too.
        """
        with self._ending:  # held to the end: the first reason is the one that counts
            self._tell({"reason": reason, "process": process})
            own = process in (None, jax.process_index())
            said = reason if own else f"process {process} failed: {reason}"
            print(f"vlp: {said}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            self._at_end()
            if not heard or jax.process_index() == 0:
                time.sleep(PASS_ON_S)
            os._exit(1)

    def _tell(self, said: dict[str, Any]) -> None:
        for line in self._lines.values():
            with contextlib.suppress(OSError):
                line.sendall(json.dumps(said).encode() + b"\n")


def _joined() -> Lines:
    """The lines of this process; none, with a warning, where some process could not be reached."""
    first = jax.process_index() == 0
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("", 0))) if first else None
        address = {"hosts": _names(), "port": server.getsockname()[1]} if server else {}
        address = _from_first(address | {"secret": secrets.token_hex(16)})
        lines = dict(_accepted(server, address)) if server else _connected(address)
    wanted = jax.process_count() - 1 if first else 1
    if multihost_utils.process_allgather(np.asarray(len(lines) == wanted)).all():
        return lines
    for line in lines.values():
        line.close()
    if first:
        _log.warning(
            "not all processes can reach process 0 at %s, port %d: a process that fails ends the "
            "others only by the watchdog; open the ports between the hosts",
            " or ".join(address["hosts"]),
            address["port"],
        )
    return {}


def _names() -> list[str]:
    """How the other processes may reach this one, the likeliest first."""
    found = [socket.gethostname()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("10.255.255.255", 1))  # sends nothing, but chooses the way out
        found.append(probe.getsockname()[0])
    return [*found, "127.0.0.1"]


def _from_first(value: dict[str, Any]) -> dict[str, Any]:
    """Process 0's value on all processes."""
    text = json.dumps(value).encode().ljust(_ADDRESS_BYTES)
    sent = multihost_utils.broadcast_one_to_all(np.frombuffer(text, np.uint8))
    return json.loads(np.asarray(sent, np.uint8).tobytes())


def _accepted(
    server: socket.socket, address: dict[str, Any]
) -> Iterator[tuple[int, socket.socket]]:
    """The number of every other process that comes in time and knows the secret, and its line."""
    until, wanted = time.monotonic() + JOIN_S, jax.process_count() - 1
    while wanted and (left := until - time.monotonic()) > 0:
        server.settimeout(left)
        try:
            line, _ = server.accept()
            line.settimeout(5.0)
            secret, number = _received(line, 32), _received(line, _NUMBER_BYTES)
            if secret != address["secret"]:
                line.close()
                continue
            line.sendall(address["secret"].encode())
        except OSError:
            continue
        wanted -= 1
        yield int(number), _kept_alive(line)


def _connected(address: dict[str, Any]) -> Lines:
    """The line to process 0, if one of its names leads there."""
    for host in address["hosts"]:
        with contextlib.suppress(OSError):
            line = socket.create_connection((host, address["port"]), timeout=5.0)
            number = f"{jax.process_index():{_NUMBER_BYTES}}"
            line.sendall((address["secret"] + number).encode())
            if _received(line, 32) == address["secret"]:
                return {0: _kept_alive(line)}
            line.close()
    return {}


def _received(line: socket.socket, count: int) -> str:
    return line.recv(count, socket.MSG_WAITALL).decode(errors="replace")


def _kept_alive(line: socket.socket) -> socket.socket:
    """Notices within half a minute that the other machine is gone, and that nothing comes."""
    line.settimeout(SILENT_S)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return line
