"""What loading costs: stage by stage on one core, and as a run would have it."""

import dataclasses
import time
from collections.abc import Iterator

import numpy as np

from data_pipelines.assemble import SECONDS, Batch, TrainGroups
from data_pipelines.auto import usable_cores
from data_pipelines.feed import lay
from data_pipelines.loader import Loader
from data_pipelines.sources.base import Source
from data_pipelines.sources.within import Within
from data_pipelines.stages import timed

HAND_OVER = "hand-over"  # what the thread that asks for a batch does itself


@dataclasses.dataclass(frozen=True)
class Bench:
    """What was measured.

    Attributes:
      stages: milliseconds of a core that a sample takes, by stage.
      bytes_a_sample: that are read.
      loaded: samples a second of this process, loaded as a run would.
      how: by how many threads or workers.
      cores: of this machine, that this process may use.
      samples: looked at in all.
      rejected: of these.
    """

    stages: dict[str, float]
    bytes_a_sample: float
    loaded: float
    how: str
    cores: int
    samples: int
    rejected: int

    @property
    def core_ms(self) -> float:
        """What a sample takes of a core, in milliseconds."""
        return sum(self.stages.values())

    @property
    def limit(self) -> str:
        """The stage that takes most."""
        return max(self.stages, key=self.stages.__getitem__)

    def cores_for(self, samples_per_second: float) -> float:
        """Cores that load so many samples a second, wherever they are."""
        return samples_per_second * self.core_ms / 1e3


class _Weighed(Within):
    """A source that counts the bytes it gives."""

    def __init__(self, source: Source) -> None:
        self.source, self.name, self.limits = source, source.name, source.limits
        self.read = 0

    @property
    def fingerprint(self) -> str:
        return self.source.fingerprint

    def image(self, index: int) -> bytes:
        return self._counted(super().image(index))

    def audio(self, index: int) -> bytes:
        return self._counted(super().audio(index))

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        found = super().captions(index)
        self.read += sum(map(len, found))
        return found

    def _counted(self, data: bytes) -> bytes:
        self.read += len(data)
        return data


def bench(loader: Loader, *, seconds: float = 3.0) -> Bench:
    """Measures a loader from where it stands; it stands elsewhere afterwards.

    Args:
      loader: of a run.
      seconds: of each of three measurements: bare, by stage, and as a run would.
    """
    groups = loader.groups
    bare = _Bare(groups, seconds)
    bare()
    source = _Weighed(groups.source)
    staged = _Bare(dataclasses.replace(groups, source=source), seconds)
    shares = timed(staged)
    whole = sum(shares.values())
    a_sample = 1e3 * bare.core_s / bare.rows
    stages = {stage: a_sample * spent / whole for stage, spent in shares.items()}
    loaded, handing = _loaded(loader, seconds)
    how = "1 thread, when asked"
    if loader.how.workers:
        how = f"{loader.how.workers} processes"
    elif loader.how.threads:
        how = f"{loader.how.threads} threads"
    return Bench(
        stages=dict(sorted(stages.items())) | {HAND_OVER: handing},
        bytes_a_sample=source.read / staged.rows,
        loaded=loaded,
        how=how,
        cores=usable_cores(),
        samples=bare.rows + staged.rows + loader.seen,
        rejected=bare.rejected + staged.rejected + sum(loader.rejects.values()),
    )


class _Bare:
    """Loads groups one after another in this thread, and lays them, for some seconds."""

    def __init__(self, groups: TrainGroups, seconds: float) -> None:
        self._groups, self._seconds = groups, seconds
        self.rows = self.rejected = 0
        self.core_s = 0.0

    def __call__(self) -> None:
        began, room = time.monotonic(), self._groups.room()
        for number, group in enumerate(self._each()):
            self.core_s += float(group.pop(SECONDS)[0])
            laying = time.thread_time()
            lay(group, room, self._groups.rows_of(number))
            self.core_s += time.thread_time() - laying
            self.rows += int((group["id"] >= 0).sum())
            self.rejected += int(np.count_nonzero(group["reject"]))
            if time.monotonic() - began > self._seconds:
                return

    def _each(self) -> Iterator[Batch]:
        for number in range(len(self._groups)):
            yield self._groups[number]


def _loaded(loader: Loader, seconds: float) -> tuple[float, float]:
    """Samples a second behind the first batch, and milliseconds a sample of who asks for it."""
    next(loader)  # workers come up
    began, used, rows = time.monotonic(), time.thread_time(), 0
    while not rows or time.monotonic() - began < seconds:
        try:
            rows += len(next(loader)["id"])
        except StopIteration:
            break
    spent, handing = time.monotonic() - began, time.thread_time() - used
    loader.close()
    if loader.how == (0, 0, ""):
        handing = 0.0  # it loads as well, which the other stages have
    return rows / spent, 1e3 * handing / max(1, rows)
