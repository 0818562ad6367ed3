"""What tests of the jobs share; without Apache Beam there are none, see `make test-jobs`."""

import importlib.util
import logging
from pathlib import Path

import pytest

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
collect_ignore_glob = [] if HAS_BEAM else ["test_*.py"]

if HAS_BEAM:
    logging.disable(logging.WARNING)  # it tells of clouds that it could not import
    import apache_beam  # noqa: F401

    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def flags() -> list[str]:
    """Of the runner in this process."""
    from data_pipelines.jobs.runners import in_process

    return in_process(1)


@pytest.fixture
def start(tmp_path: Path):
    """Begins work on data, by default in three parts and a folder of its own."""
    from data_pipelines.jobs.work import begin

    def start(spec, *, out="out", part_size=4, **settings):
        return begin(str(spec), tmp_path / out, settings=settings, part_size=part_size)

    return start
