"""Waiting for what another process does."""

import time
from collections.abc import Callable

import pytest


@pytest.fixture
def until():
    """Returns once something holds; gives up after a minute."""

    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return wait
