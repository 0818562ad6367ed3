"""As much of the Hub as fetching a model needs, on this machine: its interface over HTTP."""

import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Models by name, and what was asked of them.

    Attributes:
        models: name -> file -> content.
        refused: name -> status and code of the error to answer with.
        asked: the files whose content was fetched, by name of the model.
        url: where it listens.
    """

    def __init__(self):
        self.models, self.refused, self.asked = {}, {}, []
        self.url = ""

    def add(self, name, folder):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self.models[name] = {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextlib.contextmanager
def listening(hub):
    """The hub, answering while in here."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            """Says nothing."""

        def do_HEAD(self):
            self._answer()

        def do_GET(self):
            self._answer()

        def _answer(self):
            path = unquote(urlsplit(self.path).path).strip("/")
            if path.startswith("api/models/"):
                return self._of_model(path.removeprefix("api/models/"))
            if "/resolve/" in path:
                return self._of_file(*path.split("/resolve/"))
            return self._send(404, b"")

        def _of_model(self, path):
            name, _, rest = path.partition("/tree/")
            name, _, revision = name.partition("/revision/")
            if self._refuses(name, revision or rest.split("/")[0]):
                return None
            files = hub.models[name]
            if rest:
                listed = [
                    {
                        "type": "file",
                        "path": file,
                        "size": len(content),
                        "oid": hashlib.sha1(content).hexdigest(),
                    }
                    for file, content in files.items()
                ]
                return self._send(200, json.dumps(listed).encode())
            info = {
                "id": name,
                "sha": COMMIT,
                "siblings": [{"rfilename": file} for file in files],
            }
            return self._send(200, json.dumps(info).encode())

        def _of_file(self, name, rest):
            revision, _, file = rest.partition("/")
            if self._refuses(name, revision):
                return None
            content = hub.models[name].get(file)
            if content is None:
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            if self.command == "GET":
                hub.asked.append((name, file))
            tag = hashlib.sha1(content).hexdigest()
            return self._send(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

        def _refuses(self, name, revision):
            if name in hub.refused:
                status, code = hub.refused[name]
                self._send(status, b"", {"X-Error-Code": code})
            elif name not in hub.models:
                self._send(401, b"", {"X-Error-Message": "Invalid username or password."})
            elif revision not in ("", "main", "v1", COMMIT):
                self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            else:
                return False
            return True

        def _send(self, status, content, headers=None):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    return Handler
