"""Which processes of a run share cores: what each says of itself is compared."""

import os

import jax
import numpy as np
import pytest

from vlp.parallel import together


@pytest.mark.parametrize(
    ("others", "sharing"),
    [
        ([("here", {0, 1}), ("here", {0, 1}), ("there", {0, 1})], 3),
        ([("here", {2, 3}), ("there", {0, 1})], 1),  # bound to other cores, on another machine
    ],
)
def test_processes_share_cores_on_one_machine_unless_they_are_bound(monkeypatch, others, sharing):
    def gathered(own):
        return np.stack([own, *(together._packed(f"{m} {sorted(cores)}") for m, cores in others)])

    monkeypatch.setattr(together, "machine", lambda: "here")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert together.sharing_cores() == 1  # one process asks nobody
    monkeypatch.setattr(jax, "process_count", lambda: 1 + len(others))
    monkeypatch.setattr(together.multihost_utils, "process_allgather", gathered)
    assert together.sharing_cores() == sharing
