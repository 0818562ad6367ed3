"""Groups of rows laid into batches by a thread, ready before they are asked for.

What is in memory is a batch that is laid, one (of small ones: a few) that waits, and a few groups a
thread or worker, whatever the batch. The thread that asks copies nothing.
"""

import contextlib
import logging
import os
import queue
import threading
import time
import weakref
from multiprocessing import util
from typing import TYPE_CHECKING

from data_pipelines.assemble import SECONDS, SLOT, Batch, TrainGroups
from data_pipelines.faults import shown
from data_pipelines.prefetch import prefetch
from data_pipelines.slots import Slots
from data_pipelines.watch import At, Stalled, Watch, is_alive, kill
from data_pipelines.workers import WorkerLost, Workers

if TYPE_CHECKING:
    import grain

_LOG = logging.getLogger(__name__)
_READY_ROWS = 256  # that wait at least, in whole batches
_LOOK_S = 0.5  # between two looks at whether all still move
_STARTING_S = 60.0  # that workers may take to come up, beside what a sample may take
_ENDING_S = 10.0
_ANSWER_S = 2.0  # for the key of a sample: what a worker hangs at may not answer this thread either
# Before multiprocessing ends, at 15, the threads that give the workers' shared memory back.
_EXIT_PRIORITY = 20


class Asked:
    """Batches of a stream in order, each loaded when it is asked for.

    Args:
      groups: of the stream, from where it stands.
      samples: that all processes are past there.

    Attributes:
      core_s, rows, ready: as of `Feed`.
    """

    ready = 0

    def __init__(self, groups: TrainGroups, samples: int) -> None:
        self._groups, self._number = groups.after(samples), 0
        self.core_s, self.rows = 0.0, 0

    def __next__(self) -> Batch:
        if self._number == len(self._groups):
            raise StopIteration
        batch = self._groups.room()
        for _ in range(self._groups.groups_per_batch):
            group = self._groups[self._number]
            self.core_s += float(group.pop(SECONDS)[0])
            self.rows += lay(group, batch, self._groups.rows_of(self._number))
            self._number += 1
        return batch

    def close(self) -> None:
        """Nothing is to be ended."""


def lay(group: Batch, batch: Batch, rows: slice) -> int:
    """Writes a group into its rows of a batch; says how many they are."""
    for name, array in group.items():
        batch[name][rows] = array
    return rows.stop - rows.start


class Feed:
    """Batches of a stream in order, each an array of its own, loaded ahead.

    A worker that dies, or is at one sample for too long and so is ended, is replaced by another
    that goes on with the same group; if that dies as well, the stream ends.

    Args:
      groups: of the stream, from where it stands.
      samples: that all processes are past there.
      num_threads: groups that are loaded at the same time.
      num_workers: processes that load instead; 0 for none.
      stall_s: seconds that one sample may take.

    Attributes:
      core_s: seconds of a core that loading took so far.
      rows: that were laid so far.
    """

    def __init__(
        self,
        groups: TrainGroups,
        samples: int,
        *,
        num_threads: int,
        num_workers: int,
        stall_s: float,
    ) -> None:
        self._threads = num_threads
        self._workers, self._stall_s, self._samples = num_workers, stall_s, samples
        self._watch = Watch(num_workers or num_threads)
        like = dict(rows=groups.group_rows, workers=num_workers)
        self._slots = Slots(groups.room(1), **like) if num_workers else None
        self._groups = groups.after(samples).watched(self._watch, self._slots)
        self.core_s, self.rows = 0.0, 0
        self._laid, self._failed_at = 0, -1  # groups; the one at which a worker was lost last
        self._moved = time.monotonic()
        self._ended: set[int] = set()  # workers that were too long at a sample
        self._over = threading.Event()
        ahead = max(1, _READY_ROWS // groups.rows)
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(ahead)
        self._thread = threading.Thread(target=self._run, daemon=True, name="data")
        self._thread.start()
        own = weakref.ref(self)
        util.Finalize(self, _close, args=(own,), exitpriority=_EXIT_PRIORITY)

    @property
    def ready(self) -> int:
        """Batches that wait."""
        return self._ready.qsize()

    def __next__(self) -> Batch:
        while True:
            try:
                found = self._ready.get(timeout=_LOOK_S)
            except queue.Empty:
                self._look()
                continue
            if isinstance(found, BaseException):
                self._ready.put(found)  # it is said again to who asks again
                raise found
            return found

    def close(self) -> None:
        """Ends the threads and workers."""
        self._over.set()
        with contextlib.suppress(queue.Empty):
            self._ready.get_nowait()  # room for what the thread holds, so that it need not wait
        self._thread.join(_ENDING_S)
        if self._thread.is_alive():
            self._kill_workers()
            self._thread.join(_ENDING_S)

    def _run(self) -> None:
        try:
            self._lay_all()
        except BaseException as error:
            self._hand_on(error)

    def _lay_all(self) -> None:
        groups = self._begin()
        try:
            for _ in range(self._groups.batches):
                batch = self._groups.room()
                for _ in range(self._groups.groups_per_batch):
                    rows = self._groups.rows_of(self._laid)
                    while (group := self._next(groups)) is None:
                        if self._over.is_set():
                            return
                        self._close(groups)
                        groups = self._begin()
                    self.core_s += float(group.pop(SECONDS)[0])
                    self._lay(group, batch, rows)
                    self._laid += 1
                    self._moved = time.monotonic()
                    if self._over.is_set():
                        return
                self._hand_on(batch)
            self._hand_on(StopIteration())
        finally:
            self._close(groups)

    def _lay(self, group: Batch, batch: Batch, rows: slice) -> None:
        if self._slots is None:
            self.rows += lay(group, batch, rows)
            return
        slot = int(group[SLOT][0])
        self.rows += lay(self._slots.rows(slot, rows.stop - rows.start), batch, rows)
        self._slots.free(slot)

    def _close(self, groups: "grain.DatasetIterator[Batch] | Workers") -> None:
        if self._slots is not None:
            self._slots.clear()  # a worker that waits for room could not be told to end
        groups.close()

    def _begin(self) -> "grain.DatasetIterator[Batch] | Workers":
        self._watch.clear()
        if self._slots is not None:
            self._slots.clear()  # of those that were ended
        rest = self._groups.after(self._samples, groups=self._laid)
        if self._workers:
            return Workers(rest, count=self._workers)
        return prefetch(rest, num_threads=self._threads)

    def _next(self, groups: "grain.DatasetIterator[Batch] | Workers") -> Batch | None:
        """The next group; None where a worker was lost, and others are to begin, or all is over."""
        try:
            return next(groups)
        except WorkerLost as error:
            if self._over.is_set():  # it hung, and was ended with the others
                return None
            said = self._lost()
            if self._failed_at == self._laid:
                raise RuntimeError(
                    f"{said}, as one before it had at the same place; leave that sample out, or "
                    "raise config.data.stall_s if it only takes long"
                ) from error
            _LOG.warning("%s; others go on with the same samples", said)
            self._failed_at = self._laid
            return None

    def _hand_on(self, found: Batch | BaseException) -> None:
        while not self._over.is_set():
            try:
                self._ready.put(found, timeout=_LOOK_S)
                self._moved = time.monotonic()
                return
            except queue.Full:
                continue

    def _look(self) -> None:
        """Ends workers that hang; raises where waiting is of no use."""
        for at in self._watch.all():
            if at.seconds <= self._stall_s:
                continue
            if not self._workers:
                raise Stalled(
                    f"a thread of process {at.pid} is at {self._sample(at)} for "
                    f"{at.seconds:.0f} s, more than {self._stall_s:g}; leave that sample out, "
                    "raise config.data.stall_s, or load by workers, which can be replaced"
                )
            if at.pid not in self._ended and at.pid != os.getpid():
                self._ended.add(at.pid)
                kill(at.pid)
        if time.monotonic() - self._moved > self._stall_s + _STARTING_S:
            what = "; ".join(self._said(at) for at in self._watch.all()) or "none has begun"
            raise Stalled(
                f"no samples came for {self._stall_s + _STARTING_S:.0f} s ({what}); look at what "
                "the data lie on"
            )

    def _lost(self) -> str:
        """Says which workers are gone, and what they were at."""
        gone = [at for at in self._watch.all() if not is_alive(at.pid)]
        return "; ".join(self._said(at) for at in gone) or "a worker ended before its first sample"

    def _said(self, at: At) -> str:
        if at.pid in self._ended:
            return (
                f"the worker {at.pid} hung at {self._sample(at)} for more than "
                f"{self._stall_s:g} s and was ended"
            )
        if not is_alive(at.pid):
            where = "at" if at.seconds else "after"
            return f"the worker {at.pid} died {where} {self._sample(at)}"
        return f"{at.pid} is at {self._sample(at)}"

    def _sample(self, at: At) -> str:
        found: list[str] = []
        source = self._groups.source
        asking = threading.Thread(target=lambda: found.append(source.key(at.sample)), daemon=True)
        asking.start()
        asking.join(_ANSWER_S)
        name = found[0] if found else source.file(at.sample)
        return f"sample {at.sample} ({shown(name)}) of epoch {at.epoch}"

    def _kill_workers(self) -> None:
        for at in self._watch.all():
            if at.pid != os.getpid():
                kill(at.pid)


def _close(own: "weakref.ref[Feed]") -> None:
    feed = own()
    if feed is not None:
        feed.close()
