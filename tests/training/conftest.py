"""Trainings that several tests share, since compiling one takes longer than running it."""

import pytest
from toy import COUNTING, make_toy_training

from vlp.parallel.mesh import make_mesh


@pytest.fixture(scope="session")
def training():
    """The toy on one device, with an average, a momentum and a carry."""
    return make_toy_training(ema_decay=0.9, objective=COUNTING)


@pytest.fixture(scope="session")
def fsdp_training():
    """The same divided over eight devices."""
    return make_toy_training(mesh=make_mesh(fsdp=8), ema_decay=0.9, objective=COUNTING)
