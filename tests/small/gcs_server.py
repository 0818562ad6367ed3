"""A server of what gcsfs and TensorStore ask of Google Cloud Storage, in this process's memory.

https://cloud.google.com/storage/docs/json_api/v1: objects are listed, read in ranges, written at
once or in pieces under conditions on their generation, copied, and deleted alone or in batches.
"""

import base64
import hashlib
import itertools
import json
import re
import sys
import threading
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

_PATH = re.compile(r"(?:/upload|/download)?/storage/v1/b/([^/]+)(?:/o(?:/(.*))?)?$")
_COPY = re.compile(r"(.*)/(?:rewriteTo|copyTo)/b/([^/]+)/o/(.*)$")


class Failed(Exception):
    """An answer of another status than 200."""


class Store:
    """Buckets of objects: name -> (content, generation)."""

    def __init__(self):
        self.buckets = {"bucket": {}}
        self.generations = itertools.count(1)
        self.uploads = {}
        self.lock = threading.Lock()

    def put(self, bucket, name, content, wanted=None):
        """Writes an object if its generation is the wanted one, 0 for none; returns its entry."""
        with self.lock:
            objects = self.buckets[bucket]
            if wanted is not None and int(wanted) != objects.get(name, (b"", 0))[1]:
                raise Failed(412)
            objects[name] = (content, next(self.generations))
        return self.entry(bucket, name)

    def get(self, bucket, name):
        """Content and generation."""
        try:
            return self.buckets[bucket][name]
        except KeyError:
            raise Failed(404) from None

    def delete(self, bucket, name, wanted=None):
        """Removes an object, likewise under a condition."""
        with self.lock:
            generation = self.get(bucket, name)[1]
            if wanted is not None and int(wanted) != generation:
                raise Failed(412)
            del self.buckets[bucket][name]

    def entry(self, bucket, name):
        """What is said of an object."""
        content, generation = self.get(bucket, name)
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": bucket,
            "size": str(len(content)),
            "generation": str(generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "updated": "2026-01-01T00:00:00.000Z",
            "storageClass": "STANDARD",
        }

    def listed(self, bucket, query):
        """The objects of a bucket under a prefix, those below a delimiter as prefixes."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        first, last = query.get("startOffset", ""), query.get("endOffset")
        items, prefixes = [], []
        for name in sorted(self.buckets[bucket]):
            if not name.startswith(prefix) or name < first or (last and name >= last):
                continue
            below, found, _ = (
                name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            )
            if found:
                prefixes.append(prefix + below + delimiter)
            else:
                items.append(self.entry(bucket, name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(set(prefixes))}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer is two writes

    def log_message(self, *args):
        """Says nothing."""

    def _answer(self):
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if address.path.startswith("/batch/"):
                return self._batch(body)
            bucket, name = _PATH.fullmatch(address.path).groups()
            self._one(self.command, bucket, unquote(name or ""), query, body)
        except Failed as failed:
            said = {"error": {"code": failed.args[0], "message": "failed"}}
            self._send(failed.args[0], None if failed.args[0] == 304 else said)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def _one(self, method, bucket, name, query, body):
        store, wanted = self.server.store, query.get("ifGenerationMatch")
        if "uploadType" in query or "upload_id" in query:
            self._upload(bucket, query, body, wanted)
        elif copy := _COPY.fullmatch(name):
            content, _ = store.get(bucket, copy[1])
            entry = store.put(copy[2], copy[3], content)
            self._send(200, {"done": True, "resource": entry} if "rewriteTo" in name else entry)
        elif method == "DELETE":
            store.delete(bucket, name, wanted)
            self._send(204, None)
        elif not name:
            is_listing = urlsplit(self.path).path.endswith("/o")
            self._send(200, store.listed(bucket, query) if is_listing else {"name": bucket})
        elif query.get("alt") == "media":
            self._media(bucket, name, query)
        else:
            self._send(200, store.entry(bucket, name))

    def _media(self, bucket, name, query):
        content, generation = self.server.store.get(bucket, name)
        if query.get("ifGenerationNotMatch") == str(generation):
            raise Failed(304)
        if query.get("ifGenerationMatch", str(generation)) != str(generation):
            raise Failed(412)
        headers, whole = {"x-goog-generation": str(generation)}, len(content)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if not asked:
            return self._send(200, content, headers)
        if asked[1]:
            first, last = int(asked[1]), min(int(asked[2] or whole - 1), whole - 1)
        else:
            first, last = max(0, whole - int(asked[2])), whole - 1
        if first >= whole:
            raise Failed(416)
        headers["Content-Range"] = f"bytes {first}-{last}/{whole}"
        self._send(206, content[first : last + 1], headers)

    def _upload(self, bucket, query, body, wanted):
        store, kind = self.server.store, query.get("uploadType")
        if "upload_id" in query:
            pieces = store.uploads[query["upload_id"]]
            pieces["content"] += body
            if self.headers.get("Content-Range", "").endswith("/*"):
                headers = {"Range": f"bytes=0-{len(pieces['content']) - 1}"}
                return self._send(308, None, headers)
            entry = store.put(bucket, pieces["name"], pieces["content"], pieces["wanted"])
        elif kind == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            key = str(next(store.generations))
            store.uploads[key] = {"name": name, "content": b"", "wanted": wanted}
            place = f"http://{self.headers['Host']}/upload/storage/v1/b/{bucket}/o?upload_id={key}"
            return self._send(200, {}, {"Location": place})
        elif kind == "multipart":
            about, content = self._parts(body)
            entry = store.put(bucket, json.loads(about)["name"], content, wanted)
        else:
            entry = store.put(bucket, query["name"], body, wanted)
        self._send(200, entry)

    def _parts(self, body):
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        if not head.startswith(b"Content-Type: multipart"):
            raise Failed(400)
        return [part.get_payload(decode=True) for part in message_from_bytes(head + body).walk()][
            1:
        ]

    def _batch(self, body):
        answers = []
        for line in re.findall(rb"^DELETE (\S+) ", body, re.MULTILINE):
            bucket, name = _PATH.fullmatch(urlsplit(line.decode()).path).groups()
            try:
                self.server.store.delete(bucket, unquote(name))
                status = "204 No Content"
            except Failed as failed:
                status = f"{failed.args[0]} Not Found"
            answers.append(f"Content-Type: application/http\r\n\r\nHTTP/1.1 {status}\r\n\r\n\r\n")
        said = "".join(f"--answer\r\n{answer}" for answer in answers) + "--answer--\r\n"
        self._send(200, said.encode(), {"Content-Type": "multipart/mixed; boundary=answer"})

    def _send(self, status, content, headers=None):
        plain = content if isinstance(content, bytes) else b""
        if isinstance(content, dict):
            plain = json.dumps(content).encode()
        self.send_response(status)
        kind = "application/json" if isinstance(content, dict) else "application/octet-stream"
        for key, value in ({"Content-Type": kind} | (headers or {})).items():
            self.send_header(key, value)
        if status not in (204, 304):  # which have no body
            self.send_header("Content-Length", str(len(plain)))
        self.end_headers()
        self.wfile.write(plain)


class Server(ThreadingHTTPServer):
    """Clients may leave as they like."""

    daemon_threads = True
    store: Store

    def handle_error(self, request, client_address):
        """Says nothing of those that have left, and the trace of everything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve() -> ThreadingHTTPServer:
    """A server that answers on this machine until its `shutdown`."""
    server = Server(("127.0.0.1", 0), Handler)
    server.store = Store()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
