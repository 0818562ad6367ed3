"""Object stores for tests: one in memory, and servers of GCS and S3 on this machine."""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import fsspec.registry
import pytest
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem

from tests.small.gcs_server import serve
from vlp import remote


def _skip_without(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")


@contextlib.contextmanager
def _environment(**reached: str) -> Iterator[None]:
    """What this process and its children find their store by."""
    before = {name: os.environ.get(name) for name in reached}
    os.environ.update(reached)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="session")
def gcs():
    """The address of a bucket on a server of ours."""
    _skip_without("gcsfs")
    server = serve()
    place = f"http://127.0.0.1:{server.server_address[1]}"
    places = dict(STORAGE_EMULATOR_HOST=place, TENSORSTORE_GCS_HTTP_URL=place)
    with _environment(**places, GOOGLE_AUTH_TOKEN_FOR_TESTING="nobody"):
        yield "gs://bucket"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """The address of a bucket of moto's server."""
    _skip_without("moto", "flask", "s3fs")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    line = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(line, stdout=log, stderr=log)
    with _environment(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="nobody",
        AWS_SECRET_ACCESS_KEY="nothing",
        AWS_DEFAULT_REGION="us-east-1",
    ):
        try:
            yield _bucket(port)
        finally:
            server.kill()
            server.wait()
            log.close()


@pytest.fixture(params=["s3", "gcs"])
def store(request):
    """The address of a bucket, of each kind in turn."""
    return request.getfixturevalue(request.param)


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
