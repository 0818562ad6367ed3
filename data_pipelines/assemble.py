"""A few rows of a training batch by their number: a pure function, so any thread may compute it."""

import copy
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from data_pipelines.faults import Reject, shown, summary
from data_pipelines.fields import Example, Field, made
from data_pipelines.order import Blocks, MixedOrder, Mixture, Order
from data_pipelines.slots import Slots
from data_pipelines.sources.base import Source
from data_pipelines.watch import Watch

Batch = dict[str, np.ndarray]

# Of a group, no fields of a batch: the seconds of a core that it took, and where its rows are.
SECONDS, SLOT = "seconds", "slot"
# Rows that are loaded as one: enough that handing them over costs nothing beside decoding them, and
# few enough that memory does not depend on the batch.
_GROUP_ROWS, _GROUP_BYTES = 32, 8 * 2**20
# Longer than any run, and small enough for the slices that worker processes take.
_ENDLESS = 2**48
_LOOKED_AT = 256


@dataclasses.dataclass(eq=False, kw_only=True)
class TrainGroups:
    """This process's share of the global batches of a stream, in groups of rows, by number.

    See `make_loader`.
    """

    source: Source
    fields: Mapping[str, Field]
    optional: Collection[str]
    global_batch_size: int
    seed: int
    shuffle: bool
    blocks: Blocks | None
    epochs: int | None
    process_index: int
    process_count: int
    mixture: Mixture | None
    watch: Watch | None = None
    slots: Slots | None = None

    def __post_init__(self) -> None:
        samples = len(self.source)
        how: Any = dict(seed=self.seed, shuffle=self.shuffle, blocks=self.blocks)
        self.rows = self.global_batch_size // self.process_count
        row_bytes = sum(field.absent.nbytes for field in self.fields.values())
        self.group_rows = max(1, min(_GROUP_ROWS, _GROUP_BYTES // max(1, row_bytes), self.rows))
        self.groups_per_batch = -(-self.rows // self.group_rows)
        self._share = self.process_index * self.rows
        self._past = self._skipped = 0
        self._end = _ENDLESS if self.epochs is None else self.epochs * samples
        self._order: Callable[[int], tuple[int, int]] = (
            Order(samples, **how)
            if self.mixture is None
            else MixedOrder(samples, mixture=self.mixture, **how)
        )

    def after(self, samples: int, *, groups: int = 0) -> "TrainGroups":
        """What follows once all processes together are past so many samples, and this one past so
        many groups more."""
        rest = copy.copy(self)
        rest._past, rest._skipped = samples, groups
        return rest

    def watched(self, watch: Watch, slots: Slots | None = None) -> "TrainGroups":
        """The same, of which it can be seen where each thread or worker is, and which has its rows
        in slots if there are any."""
        watched = dataclasses.replace(self, watch=watch, slots=slots)
        return watched.after(self._past, groups=self._skipped)

    def at(self, samples: int, row: int) -> tuple[int, int]:
        """The epoch and the index of a row of this process's batch that begins there."""
        return self._order(samples + self._share + row)

    def check(self) -> None:
        """Raises ValueError when none of some samples spread over the source, or over a part of
        the mixture, can be used."""
        boundaries = () if self.mixture is None else self.mixture.boundaries
        for first, stop in zip((0, *boundaries), (*boundaries, len(self.source)), strict=True):
            self._check_part(first, stop)

    def _check_part(self, first: int, stop: int) -> None:
        indices = np.unique(np.linspace(first, stop - 1, _LOOKED_AT).astype(int)).tolist()
        rejects: Counter[str] = Counter()
        for index in indices:
            try:
                self.load(0, index)
                return
            except Reject as fault:
                rejects[fault.reason] += 1
                example = f"{shown(self.source.key(index))}: {shown(str(fault))}"
        raise ValueError(
            f"{self.source.name} must hold samples that can be used, of {len(indices)} looked at "
            f"none can: {summary(rejects)} ({example}); repair the data"
        )

    @property
    def batches(self) -> int:
        """How many batches are left."""
        return -(-max(0, self._end - self._past) // self.global_batch_size)

    def __len__(self) -> int:
        return max(0, self.batches * self.groups_per_batch - self._skipped)

    def rows_of(self, number: int) -> slice:
        """The rows of its batch that a group fills."""
        first = (self._skipped + number) % self.groups_per_batch * self.group_rows
        return slice(first, min(first + self.group_rows, self.rows))

    def room(self, rows: int | None = None) -> Batch:
        """So many rows, those of a batch unless given, of which none is written yet."""
        count = self.rows if rows is None else rows
        batch = empty_batch(count)
        for name, field in self.fields.items():
            batch[name] = np.empty((count, *field.absent.shape), field.absent.dtype)
        for name in self.optional:
            batch[f"present/{name}"] = np.empty(count, bool)
        return batch

    def __getitem__(self, number: int) -> Batch:
        """The rows of a group, or the slot that they are in, and the seconds of a core that they
        took."""
        began, rows = time.thread_time(), self.rows_of(number)
        number_of_batch = (self._skipped + number) // self.groups_per_batch
        first = self._past + number_of_batch * self.global_batch_size + self._share + rows.start
        count = rows.stop - rows.start
        if self.slots is None:
            batch = found = self.room(count)
        else:
            slot = self.slots.take()
            batch, found = self.slots.rows(slot, count), {SLOT: np.asarray([slot])}
        for row in range(count):
            self._fill(batch, row, first + row)
        return found | {SECONDS: np.asarray([time.thread_time() - began])}

    def _fill(self, batch: Batch, row: int, place: int) -> None:
        """Writes a row, whatever is there."""
        index, reject, weight, found = -1, 0, 0, {}
        if place < self._end:
            epoch, index = self._order(place)
            try:
                found, weight = self._loaded(epoch, index), 1
            except Reject as fault:
                reject = fault.code
        batch["weight"][row] = weight
        batch["id"][row] = index
        batch["reject"][row] = reject
        for name, field in self.fields.items():
            batch[name][row] = found.get(name, field.absent)
        for name in self.optional:
            batch[f"present/{name}"][row] = name in found

    def _loaded(self, epoch: int, index: int) -> Batch:
        if self.watch is None:
            return self.load(epoch, index)
        self.watch.begin(epoch, index)
        try:
            return self.load(epoch, index)
        finally:
            self.watch.done()

    def load(self, epoch: int, index: int) -> Batch:
        """The rows of a sample by field, those that it lacks and may lack left out.

        Raises:
          Reject: it cannot be used.
        """
        example = Example(self.source, index, epoch, self.seed)
        found: Batch = {}
        lacking: Reject | None = None
        for name, field in self.fields.items():
            try:
                found[name] = made(name, field, example)
            except Reject as fault:
                if name not in self.optional or not fault.is_missing:
                    raise
                lacking = fault
        if lacking and not found:
            raise lacking
        return found


def empty_batch(rows: int) -> Batch:
    """Rows that are only padding, without any field: weight 0, id -1."""
    return {
        "weight": np.zeros(rows, np.float32),
        "id": np.full(rows, -1, np.int64),
        "reject": np.zeros(rows, np.uint8),
    }
