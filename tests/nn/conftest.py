"""TPUs' attention in its interpreter, and what is said of attention."""

import logging

import pytest
from jax.experimental.pallas.ops.tpu import splash_attention

from vlp.nn import implementation


@pytest.fixture
def interpreted(monkeypatch):
    """Lets TPUs' attention run here; the settings of each of its kernels."""
    calls, make = [], splash_attention.make_splash_mha_single_device

    def here(**settings):
        calls.append(settings)
        return make(**settings, interpret=True)

    monkeypatch.setattr(splash_attention, "make_splash_mha_single_device", here)
    return calls


@pytest.fixture
def words(caplog):
    """What is said of attention that another implementation takes over."""
    implementation._say.cache_clear()
    caplog.set_level(logging.WARNING, logger="vlp")
    return caplog
