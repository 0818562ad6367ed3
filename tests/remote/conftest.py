"""The fixtures of stores and of whole runs."""

import pytest

from data_pipelines.io import blocks, remote, retries
from tests.small.http_server import serving
from tests.small.runs import _own_cache, pairs
from tests.small.stores import gcs, gs, s3, store

__all__ = ["_own_cache", "gcs", "gs", "pairs", "s3", "store"]


@pytest.fixture
def small_blocks(monkeypatch, tmp_path, _own_cache):
    """Files of a store come in small blocks, what fails is tried again at once."""
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)
    blocks._after_fork()


@pytest.fixture
def web(tmp_path):
    """A folder, the address of a web server of it, and what that does wrong."""
    (tmp_path / "web").mkdir()
    with serving(tmp_path / "web") as (place, faults):
        yield tmp_path / "web", place, faults
