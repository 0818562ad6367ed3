"""A web server of a folder, with ranges, tags and listings, that is slow and fails as told."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Faults:
    """What a server does from now on.

    Attributes:
      latency: seconds before every answer.
      plan: what becomes of the first tries of each stretch of each file: a status, "cut", or None.
      repeats: whether the plan begins anew behind its end.
      status: of every answer about what is not there.
      ranges: whether it knows them.
      listings: whether it says what is in a folder.
      reads: how many it was asked for.
    """

    def __init__(self) -> None:
        self.latency, self.reads = 0.0, 0
        self.ranges = self.listings = True
        self.status = 404
        self.plan: Sequence[int | str | None] = ()
        self.repeats = False
        self.tries: Counter[tuple[str, str | None]] = Counter()
        self.lock = threading.Lock()

    def of(self, path: str, stretch: str | None) -> int | str | None:
        """What becomes of this try."""
        with self.lock:
            self.reads += 1
            number = self.tries[path, stretch]
            self.tries[path, stretch] += 1
        if self.repeats:
            number %= len(self.plan)
        return self.plan[number] if number < len(self.plan) else None


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, Faults]]:
    """The address of a server, and what it does."""
    faults = Faults()

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *given):
            super().__init__(*given, directory=str(folder))

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            time.sleep(faults.latency)
            self._answer(with_body=False)

        def do_GET(self):
            time.sleep(faults.latency)
            if faults.listings and Path(self.translate_path(self.path)).is_dir():
                super().do_GET()
                return
            fault = faults.of(self.path, self.headers.get("Range"))
            if isinstance(fault, int):
                self.send_response(fault)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._answer(with_body=True, cut=fault == "cut")

        def _answer(self, *, with_body: bool, cut: bool = False) -> None:
            path = Path(self.translate_path(self.path))
            if not path.is_file():
                self.send_error(faults.status)
                return
            status = path.stat()
            first, last = 0, status.st_size - 1
            asked = self.headers.get("Range") if faults.ranges and with_body else None
            if asked:
                first, last = (int(part) for part in asked.removeprefix("bytes=").split("-"))
                last = min(last, status.st_size - 1)
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{status.st_size}")
            if faults.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{status.st_mtime_ns}"')
            self.send_header("Content-Length", str(last - first + 1))
            self.end_headers()
            if with_body:
                with path.open("rb") as file:
                    file.seek(first)
                    body = file.read(last - first + 1)
                self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = cut

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
