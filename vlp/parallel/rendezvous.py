"""Whether the processes of a run are those that it should have, before JAX looks for them.

JAX's own start ends a process from C++, with a stack and a code that says little, when another is
missing, has its number, or counts differently. So the processes first meet here: all tell process 0
who they are, on the port that JAX uses after that, and it answers all of them with go or with what
is wrong.
"""

import contextlib
import json
import select
import socket
import time
from typing import Any

HEAR_S = 5.0  # for the first line of who connects
FREE_S = 20.0  # for the port to be given back by the start before


def meet(coordinator: str, *, num_processes: int, process_id: int, timeout_s: int) -> None:
    """Returns once all processes of the run have met.

    Args:
        coordinator: `host:port` of process 0.
        num_processes: how many the run has.
        process_id: which one this is, from 0.
        timeout_s: how long to wait for the others, in seconds.

    Raises:
        ValueError: they contradict each other; all that came say the same.
        RuntimeError: some did not come in time; names them.
    """
    host, _, port = coordinator.rpartition(":")
    address = (host.strip("[]"), int(port))
    if process_id == 0:
        _receive(address, num_processes=num_processes, timeout_s=timeout_s)
    else:
        said = {"process": process_id, "of": num_processes}
        _report(address, said, timeout_s=timeout_s)


def _receive(address: tuple[str, int], *, num_processes: int, timeout_s: int) -> None:
    """Process 0: hears all others, and answers them."""
    until, lines = time.monotonic() + timeout_s, dict[int, socket.socket]()
    answer: dict[str, str] = {}
    with _listening(address[1]) as server:
        _reach_oneself(address, until)
        while len(lines) < num_processes - 1 and not answer:
            server.settimeout(max(0.01, until - time.monotonic()))
            try:
                line, _ = server.accept()
            except TimeoutError:
                answer = {"late": _missing(lines, num_processes, timeout_s)}
                break
            said = _heard(line)
            if said is None or not isinstance(said.get("process"), int):  # none of vlp, or gone
                line.close()
                continue
            for gone in [number for number, each in lines.items() if _is_closed(each)]:
                lines.pop(gone).close()
            if problem := _problem(said, lines, num_processes):
                answer = {"wrong": problem}
                _answer(line, answer)
            else:
                lines[said["process"]] = line
        for line in lines.values():
            _answer(line, answer)
    _raise(answer)


def _report(address: tuple[str, int], said: dict[str, int], *, timeout_s: int) -> None:
    """Another process: says who it is, and hears whether all is well."""
    until, problem = time.monotonic() + timeout_s, "nothing answers"
    while (left := until - time.monotonic()) > 0:
        try:
            with socket.create_connection(address, timeout=min(left, HEAR_S)) as line:
                problem = "it does not answer as process 0 of a run does"
                line.sendall(json.dumps(said).encode() + b"\n")
                answer = _heard(line, seconds=left + HEAR_S)
        except OSError as error:
            problem, answer = str(error), None
        if answer is None:
            time.sleep(0.2)
        else:
            _raise(answer)
            return
    raise RuntimeError(
        f"process 0 must be reached at {address[0]}:{address[1]} within {timeout_s} s: {problem}; "
        "check that it was started there, that the port is open between the hosts, and that all "
        "have the same --coordinator"
    )


def _listening(port: int) -> socket.socket:
    """A server on the port; a start that has just ended may hold it for a while yet."""
    until = time.monotonic() + FREE_S
    while True:
        try:
            return _server(port)
        except OSError as error:
            if time.monotonic() > until:
                raise ValueError(
                    f"process 0 must be alone on port {port} of its host: {error}; another process "
                    "has --process-id=0 too, or another run this port: give --coordinator another"
                ) from error
        time.sleep(0.5)


def _server(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        family = socket.AF_INET6
        return socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=1024)


def _reach_oneself(address: tuple[str, int], until: float) -> None:
    """Returns once process 0 can be reached at its address, from itself at least."""
    while True:
        try:
            socket.create_connection(address, timeout=HEAR_S).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise ValueError(
                    f"--coordinator must name the host of process 0, which does not reach itself "
                    f"at {address[0]}:{address[1]}: {error}; give the name of that host"
                ) from error
        time.sleep(0.2)


def _answer(line: socket.socket, answer: dict[str, str]) -> None:
    with line, contextlib.suppress(OSError):
        line.sendall(json.dumps(answer).encode() + b"\n")


def _raise(answer: dict[str, str]) -> None:
    """Raises what process 0 found wrong, if anything."""
    if "wrong" in answer:
        raise ValueError(answer["wrong"])
    if "late" in answer:
        raise RuntimeError(answer["late"])


def _heard(line: socket.socket, *, seconds: float = HEAR_S) -> dict[str, Any] | None:
    """The JSON object in the one line that the other says; None where it says none."""
    line.settimeout(seconds)
    with contextlib.suppress(OSError, ValueError), line.makefile("rb") as file:
        said = json.loads(file.readline(10_000))
        return said if isinstance(said, dict) else None
    return None


def _is_closed(line: socket.socket) -> bool:
    """Whether the other side is gone; it says nothing while it waits."""
    return bool(select.select([line], [], [], 0)[0])


def _problem(
    said: dict[str, Any], lines: dict[int, socket.socket], num_processes: int
) -> str | None:
    """What is wrong with who comes."""
    number, of = said.get("process"), said.get("of")
    if of != num_processes:
        return (
            f"--num-processes must be the same on all, process 0 has {num_processes} and process "
            f"{number} has {of}; give all the number of processes that are started"
        )
    if number in lines or number not in range(1, num_processes):
        return (
            f"each process must have a --process-id of its own, two have {number}; number them 0 "
            f"to {num_processes - 1}"
        )
    return None


def _missing(lines: dict[int, socket.socket], num_processes: int, timeout_s: int) -> str:
    missing = [number for number in range(1, num_processes) if number not in lines]
    named = ", ".join(map(str, missing[:10])) + (" and others" if len(missing) > 10 else "")
    return (
        f"all {num_processes} processes must come within {timeout_s} s, {len(missing)} did not: "
        f"process {named}; check that each was started with a --process-id of its own and reaches "
        "process 0, or give the --num-processes that there are"
    )
