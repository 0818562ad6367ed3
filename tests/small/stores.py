"""Object stores for tests: one in memory, and a server of S3 on this machine."""

import importlib.util
import os
import socket
import subprocess
import sys
import time

import fsspec.registry
import pytest
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem

from vlp import remote

NEEDED = ("moto", "flask", "s3fs")


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """The address of a bucket of moto's server, which this process and its children reach."""
    if any(importlib.util.find_spec(package) is None for package in NEEDED):
        pytest.skip("needs moto[server] and s3fs; pip install 'vlp[s3]' 'moto[server,s3]'")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    reached = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in reached}
    os.environ.update(reached)
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    line = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(line, stdout=log, stderr=log)
    try:
        yield _bucket(port)
    finally:
        server.kill()
        server.wait()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _bucket(port: int) -> str:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    fsspec.filesystem("s3").mkdir("bucket")
    return "s3://bucket"


class Memory(MemoryFileSystem):
    """A bucket of GCS in this process's memory."""

    protocol = ("gs", "gcs")
    store: dict = {}
    pseudo_dirs: list = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("gs:/").removeprefix("gcs:/"))


@pytest.fixture
def gs(monkeypatch):
    """The address of a bucket that is empty, in memory: of files alone, TensorStore sees none."""
    monkeypatch.setattr(remote, "STORES", {"gs": ("fsspec", "gcs"), "s3": ("fsspec", "s3")})
    for name in Memory.protocol:
        monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, name, Memory)
    backend.fsspec_backend._get_filesystem.cache_clear()
    Memory.store.clear()
    Memory.pseudo_dirs[:] = [""]
    yield "gs://bucket"
    backend.fsspec_backend._get_filesystem.cache_clear()
