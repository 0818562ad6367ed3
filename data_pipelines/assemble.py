"""One batch of training samples by its number: a pure function, so any thread may compute it."""

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from data_pipelines.faults import Reject, shown, summary
from data_pipelines.fields import Example, Field, made
from data_pipelines.order import MixedOrder, Mixture, Order
from data_pipelines.sources.base import Source

Batch = dict[str, np.ndarray]

# Longer than any run, and small enough for the slices that worker processes take.
_ENDLESS = 2**48
_LOOKED_AT = 256


@dataclasses.dataclass(eq=False, kw_only=True)
class TrainBatches:
    """This process's share of the global batches of a stream, by number. See `make_loader`."""

    source: Source
    fields: Mapping[str, Field]
    optional: Collection[str]
    global_batch_size: int
    seed: int
    shuffle: bool
    epochs: int | None
    process_index: int
    process_count: int
    mixture: Mixture | None

    def __post_init__(self) -> None:
        samples = len(self.source)
        how: Any = dict(seed=self.seed, shuffle=self.shuffle)
        self._rows = self.global_batch_size // self.process_count
        self._share = self.process_index * self._rows
        self._past = 0
        self._end = _ENDLESS if self.epochs is None else self.epochs * samples
        self._order: Callable[[int], tuple[int, int]] = (
            Order(samples, **how)
            if self.mixture is None
            else MixedOrder(samples, mixture=self.mixture, **how)
        )

    def after(self, samples: int) -> "TrainBatches":
        """The batches that follow once all processes together are past so many samples."""
        rest = copy.copy(self)
        rest._past = samples
        return rest

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
                self._load(0, index)
                return
            except Reject as fault:
                rejects[fault.reason] += 1
                example = f"{shown(self.source.key(index))}: {shown(str(fault))}"
        raise ValueError(
            f"{self.source.name} must hold samples that can be used, of {len(indices)} looked at "
            f"none can: {summary(rejects)} ({example}); repair the data"
        )

    def __len__(self) -> int:
        return -(-max(0, self._end - self._past) // self.global_batch_size)

    def __getitem__(self, number: int) -> Batch:
        first = self._past + number * self.global_batch_size + self._share
        places = range(first, min(first + self._rows, self._end))
        batch = empty_batch(self._rows)
        for name, field in self.fields.items():
            batch[name] = np.repeat(field.absent[None], self._rows, axis=0)
        for name in self.optional:
            batch[f"present/{name}"] = np.zeros(self._rows, bool)
        for row, place in enumerate(places):
            epoch, index = self._order(place)
            batch["id"][row] = index
            try:
                found = self._load(epoch, index)
            except Reject as fault:
                batch["reject"][row] = fault.code
                continue
            batch["weight"][row] = 1
            for name, value in found.items():
                batch[name][row] = value
            for name in set(self.optional) & found.keys():
                batch[f"present/{name}"][row] = True
        return batch

    def _load(self, epoch: int, index: int) -> Batch:
        """The rows of a sample by field, those that it lacks and may lack left out."""
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
