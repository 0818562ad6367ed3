#!/usr/bin/env python3
"""Starts a vlp command on every host of a list, and again on all of them when one ends.

  python launch/hosts.py --hosts=node1,node2 --directory=/shared/vlp -- \\
      .venv/bin/vlp train --config=experiments/own_data.py:data=pairs.tar --workdir=/shared/run

Each host runs the command once, with --coordinator, --num-processes and --process-id added. The
first one is process 0, whose output is shown here; that of the others goes to --logs. Hosts are
reached by ssh without a password. Nothing but Python is needed here, and a POSIX shell there.

Exit code 75 (told to stop, and saved) starts all again without end. Any other failure starts all
again as often as --restarts says: what one host lost, a later start may find. 2 (a wrong command
line) never does. SIGTERM or Ctrl-C here lets all save and stop, and ends with 75; each host listens
to this program, so that its end in any other way does that too.
"""

import argparse
import contextlib
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

PREEMPTED, USAGE = 75, 2
SSH = "ssh -o BatchMode=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=4 {host}"
# Runs on the host: names of signals come line by line and are passed on; where no more can come,
# because the connection or the launcher is gone, the command is told to save and stop.
SCRIPT = """\
cd {directory} || exit 1
exec 3<&0
{command} </dev/null 3<&- &
child=$!
(while read -r name <&3; do kill -s "$name" $child; done; kill -s TERM $child) 2>/dev/null &
listener=$!
wait $child
code=$?
kill $listener 2>/dev/null
exit $code
"""


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--hosts", required=True, help="names by commas, or a file of one a line")
    parser.add_argument("--port", type=int, default=12321, help="of process 0 (default 12321)")
    parser.add_argument("--directory", default=str(Path.cwd()), help="there; default: as here")
    parser.add_argument("--shell", default=SSH, help=f"what reaches a host (default {SSH!r})")
    parser.add_argument("--logs", type=Path, default=Path("logs"), help="folder (default logs)")
    parser.add_argument("--restarts", type=int, default=3, help="after failures (default 3)")
    parser.add_argument(
        "--grace", type=float, default=180.0, metavar="SECONDS",
        help="after the first end, for the others to end; then they are told to, and then made to "
        "(default 180)",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="print what would run, and stop")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- vlp train ...")
    args = parser.parse_args()
    args.command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not args.command:
        parser.error("a command must follow --, e.g. -- vlp train --config=... --workdir=...")
    args.hosts = _names(args.hosts)
    if not args.hosts:
        parser.error("--hosts must name at least one host")
    return args


def command_lines(args: argparse.Namespace) -> list[list[str]]:
    """What is run here for each host."""
    lines = []
    for process, host in enumerate(args.hosts):
        command = list(args.command)
        if len(args.hosts) > 1:
            command += [
                f"--coordinator={args.hosts[0]}:{args.port}",
                f"--num-processes={len(args.hosts)}",
                f"--process-id={process}",
            ]
        script = SCRIPT.format(directory=shlex.quote(args.directory), command=shlex.join(command))
        shell = [part.format(host=host) for part in shlex.split(args.shell)]
        lines.append([*shell, f"exec sh -c {shlex.quote(script)}"])
    return lines


class Launch:
    """One start of the command on all hosts.

    Args:
        lines: what is run here for each host.
        logs: files for what they say; None shows it here.
    """

    def __init__(self, lines: Sequence[Sequence[str]], *, logs: Sequence[Path | None]):
        self.processes = [_started(*each) for each in zip(lines, logs, strict=True)]

    def ended(self, *, grace: float, stop: threading.Event) -> list[int]:
        """The exit codes, once all have ended.

        Args:
            grace: seconds for each way of ending: by themselves, by SIGTERM, by SIGKILL.
            stop: set when all are to save and stop.
        """
        orders, until = ["KILL HERE", "KILL", "TERM"], None
        while any(process.poll() is None for process in self.processes):
            now = time.monotonic()
            if until is None and stop.is_set():
                until = now
            elif until is None and any(process.poll() for process in self.processes):
                until = now + grace
            if orders and until is not None and now >= until:
                self._order(orders.pop())
                until = now + grace
            time.sleep(0.2)
        return [process.returncode for process in self.processes]

    def _order(self, name: str) -> None:
        for process in self.processes:
            if name == "KILL HERE":  # the host does not answer
                process.kill()
                continue
            with contextlib.suppress(OSError):
                process.stdin.write(f"{name}\n".encode())
                process.stdin.flush()


def _names(hosts: str) -> list[str]:
    text = Path(hosts).read_text() if Path(hosts).is_file() else hosts.replace(",", "\n")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _started(line: Sequence[str], log: Path | None) -> subprocess.Popen[bytes]:
    """A process of its own session, so that Ctrl-C reaches this program alone."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(log.open("ab")) if log else None
        return subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=file, stderr=file, start_new_session=True
        )


def _last_line(log: Path | None) -> str:
    lines = log.read_text(errors="replace").splitlines() if log and log.exists() else []
    return f": {lines[-1]}" if lines else ""


def main() -> int:
    """Starts all, again and again if need be; the exit code of the last start."""
    args = arguments()
    lines = command_lines(args)
    if args.dry_run:
        print("\n".join(shlex.join(line) for line in lines))
        return 0
    args.logs.mkdir(parents=True, exist_ok=True)
    logs = [args.logs / f"{i}-{host}.log" if i else None for i, host in enumerate(args.hosts)]
    stop, failures = threading.Event(), 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while True:
        codes = Launch(lines, logs=logs).ended(grace=args.grace, stop=stop)
        for host, code, log in zip(args.hosts, codes, logs, strict=True):
            print(f"{host} ended with {code}{_last_line(log) if code else ''}", file=sys.stderr)
        failed = [code for code in codes if code not in (0, PREEMPTED)]
        failures += bool(failed)
        if USAGE in codes or failures > args.restarts or not any(codes):
            return failed[0] % 256 if failed else 0
        if stop.is_set():
            return 1 if failed else PREEMPTED
        print(f"starting again, after {failures} failures", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
