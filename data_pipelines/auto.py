"""Threads or worker processes, and how many, by what a second of loading measures."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from data_pipelines.assemble import TrainGroups
from data_pipelines.faults import Reject

AUTO = "auto"
_SECONDS = 0.4  # of each of two measurements
# Threads that do this much of what as many cores could are taken: they start at once, and share
# memory and what the source keeps open.
_GOOD = 0.75


class Choice(NamedTuple):
    """How samples are loaded.

    Attributes:
      threads: in this process.
      workers: processes that load instead.
      said: what was measured.
    """

    threads: int
    workers: int
    said: str = ""


def choose(groups: TrainGroups, *, cores: int) -> Choice:
    """Threads where they use the cores, else a process for each core but one.

    Args:
      groups: of the stream; samples spread over its source are loaded as in epoch 0.
      cores: of this machine that this process may use.
    """
    if cores == 1:
        return Choice(1, 0, "samples are loaded by 1 thread: this process has one core")
    with ThreadPoolExecutor(cores) as pool:
        spread = np.linspace(0, len(groups.source) - 1, 4096).astype(int)
        alone = _rate(groups, pool, spread, threads=1)
        together = _rate(groups, pool, spread, threads=cores)
    use = together / (cores * alone)
    said = f"one thread {alone:,.0f} samples/s, {cores} together {together:,.0f}"
    if use >= _GOOD:
        return Choice(cores, 0, f"samples are loaded by {cores} threads ({said})")
    return Choice(0, cores - 1, f"samples are loaded by {cores - 1} processes ({said})")


def usable_cores(*, sharing: int = 1) -> int:
    """How many cores this process may use: its share, where others of the run use the same."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // sharing)


def _rate(
    groups: TrainGroups, pool: ThreadPoolExecutor, spread: np.ndarray, *, threads: int
) -> float:
    """Samples a second of so many threads at the same time."""
    began = time.monotonic()

    def load(first: int) -> int:
        done = 0
        for index in _from(spread, first):
            with suppress(Reject):
                groups.load(0, index)
            done += 1
            if time.monotonic() - began > _SECONDS:
                return done
        raise AssertionError("it goes round")

    done = sum(pool.map(load, range(threads)))
    return done / (time.monotonic() - began)


def _from(spread: np.ndarray, first: int) -> Iterator[int]:
    """The indices in a circle, each thread from elsewhere, so that none reads what another has."""
    at = first * 997
    while True:
        yield int(spread[at % len(spread)])
        at += 1
