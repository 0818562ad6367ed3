"""Source to batches: shuffled, sharded by process, prefetched, resumable, and never out of step.

The stream is a function of (seed, epoch, index) alone: epoch k is a permutation of all samples,
epochs follow each other without a gap, and global batch b is the b-th piece of that stream. A
process takes its share of each piece, so threads, workers and processes change who loads a sample
but never which samples a batch holds. Where the stream stands is one number.

A bad sample stays in its place as a row of weight 0: dropping it would shift all that follow.
"""

import dataclasses
import functools
import logging
import weakref
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.assemble import Batch, TrainGroups
from data_pipelines.auto import AUTO, Choice, choose, usable_cores
from data_pipelines.faults import OF_FILES, REASONS, shown, summary
from data_pipelines.feed import Asked, Feed
from data_pipelines.fields import Field
from data_pipelines.ledger import Ledger
from data_pipelines.mixtures import Mixture
from data_pipelines.order import Blocks
from data_pipelines.sources.base import Source
from data_pipelines.sources.fingerprints import same_data

_LOG = logging.getLogger(__name__)
_STATE_VERSION = 2
_OLDER = (
    "a data state only fits the order it was taken from: its version is {found!r}, here it is "
    f"{_STATE_VERSION}, whose epochs are shuffled in another way; end that run with the version of "
    "vlp it began with, or begin another from its weights (config.init.path)"
)
# Samples seen, and the bad ones of them by reason.
Counts = tuple[int, Mapping[str, int]]


def make_loader(
    source: Source,
    *,
    fields: Mapping[str, Field],
    optional: Collection[str] = (),
    global_batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    epochs: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    num_workers: int | str = 0,
    sharing: int = 1,
    blocks: Blocks | None = None,
    mixture: Mixture | None = None,
    stall_s: float = 300.0,
    max_reject_share: float = 0.05,
    min_samples_before_stop: int = 1000,
) -> "Loader":
    """An endless or finite iterator over batches of a source.

    Args:
      source: the samples.
      fields: what a batch holds of each sample, in the order in which they are made. A sample of
        which one cannot be made is a bad one.
      optional: names of fields that a sample may lack: its row of `present/NAME`, bool, is False.
      global_batch_size: rows per step over all processes.
      seed: 0 to 2^32 - 1.
      shuffle: a new order each epoch; else the source's own order.
      epochs: passes over the source, endless if None. The last batch is filled with rows of
        weight 0 and id -1.
      process_index: which share of each global batch is loaded here.
      process_count: number of shares.
      num_threads: groups of rows that are loaded at the same time in this process; 0 loads a batch
        when it is asked for. Each worker process has one thread of its own.
      num_workers: processes that load instead of threads, for transforms that keep the
        interpreter lock; "auto" measures at the first batch and takes threads or processes.
      sharing: processes of the run that share the cores of this one, itself included, for "auto".
      blocks: how samples are shuffled where a store reads best in sequence; None shuffles all
        alike.
      mixture: parts of the source in fixed shares, each with epochs of its own; else all
        samples equally often. An epoch of the stream is as many samples as the source has.
      stall_s: seconds that a sample may take. A worker that takes longer is replaced; where that is
        of no use the loader stops.
      max_reject_share: share of bad samples above which the loader stops; not one good sample
        stops it whatever the share.
      min_samples_before_stop: rows that must have been seen before that is judged, or once all
        samples of the source; see also `Loader.judge`.

    Raises:
      ValueError: a value out of its range, or a batch that does not divide by the processes.
    """
    _check(
        global_batch_size=(global_batch_size, 1, None),
        seed=(seed, 0, 2**32 - 1),
        process_count=(process_count, 1, None),
        process_index=(process_index, 0, process_count - 1),
        num_threads=(num_threads, 0, None),
        sharing=(sharing, 1, None),
        stall_s=(stall_s, 0, None),
        max_reject_share=(max_reject_share, 0, 1),
    )
    if num_workers != AUTO:
        if not isinstance(num_workers, int):
            raise ValueError(f'num_workers must be a number or "{AUTO}", got {num_workers!r}')
        _check(num_workers=(num_workers, 0, None))
    unmade = sorted(set(optional) - fields.keys())
    if unmade:
        raise ValueError(f"optional fields must be fields, got {unmade[0]}; add it or leave it out")
    if epochs is not None:
        _check(epochs=(epochs, 1, None))
    if global_batch_size % process_count:
        below = global_batch_size // process_count * process_count
        near = " or ".join(str(size) for size in (below, below + process_count) if size)
        raise ValueError(
            f"global_batch_size must divide by {process_count} processes, got "
            f"{global_batch_size}; try {near}"
        )
    groups = TrainGroups(
        source=source,
        fields=fields,
        optional=optional,
        global_batch_size=global_batch_size,
        seed=seed,
        shuffle=shuffle,
        blocks=blocks,
        epochs=epochs,
        process_index=process_index,
        process_count=process_count,
        mixture=mixture,
    )
    return Loader(
        groups=groups,
        num_threads=num_threads,
        num_workers=num_workers,
        sharing=sharing,
        stall_s=stall_s,
        max_reject_share=max_reject_share,
        min_samples_before_stop=min_samples_before_stop,
    )


@dataclasses.dataclass(eq=False, kw_only=True)
class Loader:
    """Iterator over this process's share of the global batches; made by `make_loader`.

    Attributes:
      seen: samples of this process so far, bad ones included, rows that only fill a batch not.
      rejects: of these, the bad ones by reason.
      ledger: takes each bad one, if there is one.
    """

    groups: TrainGroups
    num_threads: int
    num_workers: int | str
    sharing: int
    stall_s: float
    max_reject_share: float
    min_samples_before_stop: int
    seen: int = 0
    rejects: dict[str, int] = dataclasses.field(default_factory=dict)
    ledger: Ledger | None = None

    def __post_init__(self) -> None:
        self._samples, self._ready = 0, 0
        self._running: list[Feed | Asked] = []  # one, once batches are loaded
        parts = 0 if self.groups.mixture is None else len(self.groups.mixture.labels)
        self._of_part = np.zeros(parts, np.int64)  # good samples of each

    @property
    def samples_per_epoch(self) -> int:
        """Samples in the source, over all processes."""
        return len(self.groups.source)

    @property
    def _stream(self) -> dict[str, Any]:
        """What tells this stream from others."""
        mixture, blocks = self.groups.mixture, self.groups.blocks
        return {
            "version": _STATE_VERSION,
            "seed": self.groups.seed,
            "source": self.groups.source.fingerprint,
            "mixture": None if mixture is None else mixture.to_json(),
            "shuffle": self.groups.shuffle,
            "blocks": None if blocks is None else [blocks.size, blocks.window],
        }

    def __iter__(self) -> "Loader":
        return self

    def __next__(self) -> Batch:
        if not self._running:
            self._running.append(self._feed())
            # Also when nobody calls close: at the end of the loader, or of the program.
            self._stop = weakref.finalize(self, _stop, self._running)
        self._ready = self._running[0].ready
        batch = next(self._running[0])
        self._count(batch)
        self._samples += self.groups.global_batch_size
        self._judge_in_time()
        return batch

    @functools.cached_property
    def how(self) -> Choice:
        """By how many threads or workers samples are loaded; measured when first asked for, where
        that is to be found out."""
        if isinstance(self.num_workers, int):
            return Choice(self.num_threads, self.num_workers)
        found = choose(self.groups, cores=usable_cores(sharing=self.sharing))
        _LOG.info("%s", found.said)
        return found

    def _feed(self) -> Feed | Asked:
        how = self.how
        if not (how.threads or how.workers):
            return Asked(self.groups, self._samples)
        return Feed(
            self.groups,
            self._samples,
            num_threads=how.threads,
            num_workers=how.workers,
            stall_s=self.stall_s,
        )

    def metrics(self) -> dict[str, float]:
        """What this process's loading is like.

        `perf/data_ready_batches` waited when the last one was asked for, `perf/data_core_ms` is
        what a sample takes of a core, `data/rejected` the share of bad ones, and `data/share/PART`
        of the good ones is of that part of a mixture.
        """
        found = {"perf/data_ready_batches": float(self._ready)}
        if self._running and self._running[0].rows:
            found["perf/data_core_ms"] = 1e3 * self._running[0].core_s / self._running[0].rows
        if self.seen:
            found["data/rejected"] = sum(self.rejects.values()) / self.seen
        if self.groups.mixture is not None and self._of_part.any():
            shares = (self._of_part / self._of_part.sum()).tolist()
            names = self.groups.mixture.labels
            found |= {f"data/share/{n}": share for n, share in zip(names, shares, strict=True)}
        return found

    def get_state(self) -> dict[str, Any]:
        """Where the stream stands, as JSON-able values.

        Equal on all processes but for "seen", "rejects" and "parts" (the good ones of each part of
        a mixture), which count this process's share: `joined_state` adds them up.
        """
        return {
            "samples": self._samples,
            **self._stream,
            "seen": self.seen,
            "rejects": dict(self.rejects),
            "parts": self._of_part.tolist(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on where `get_state` was called, bit for bit.

        The number of processes, workers, threads and the batch size may differ from then. What was
        counted is process 0's from now on, so that all processes together have it once.

        Raises:
          ValueError: the state is of another version, seed, source, mixture or way of shuffling.
        """
        if state.get("version") != _STATE_VERSION:
            raise ValueError(_OLDER.format(found=state.get("version")))
        said = {"shuffle": True, **state}  # of earlier versions, which did not say it
        for name, mine in self._stream.items():
            if not same_data(said.get(name), mine):
                raise ValueError(
                    f"a data state only fits the stream it was taken from: its {name} is "
                    f"{said.get(name)!r}, here it is {mine!r}; use the same {name} or start anew"
                )
        self.close()
        self._samples = int(state["samples"])
        self._of_part[:] = 0
        self.seen, self.rejects = 0, {}
        if self.groups.process_index == 0:
            self._of_part[:] = state["parts"]
            self.seen = int(state["seen"])
            self.rejects = {str(reason): int(count) for reason, count in state["rejects"].items()}

    def check(self) -> None:
        """Raises ValueError when no sample at all can be used; looks at some until one can.

        They are spread over the source, which may be bad in some places only.
        """
        self.groups.check()

    def judge(self, counts: Iterable[Counts] = ()) -> None:
        """Raises ValueError when too much of what was seen was bad, however little that is.

        Args:
          counts: what each process has seen, to be judged as one; else what this one has.
        """
        counts = list(counts) or [(self.seen, self.rejects)]
        seen = sum(own for own, _ in counts)
        rejects = sum((Counter(own) for _, own in counts), Counter())
        rejected, name = rejects.total(), self.groups.source.name
        if seen and rejected == seen:
            raise ValueError(
                f"{name} must hold samples that can be used, of {seen:,} seen none can: "
                f"{summary(rejects)}; repair the data"
            )
        if rejected > self.max_reject_share * seen:
            raise ValueError(
                f"at most {self.max_reject_share:.1%} of the samples may be bad, got "
                f"{rejected / seen:.1%} ({rejected} of {seen}) in {name}: {summary(rejects)}; "
                "repair the data, or raise max_reject_share if that many are expected"
            )

    def close(self) -> None:
        """Ends the threads and worker processes; the loader can be used again."""
        if self._running:
            self._stop()

    def _count(self, batch: Batch) -> None:
        self.seen += int((batch["id"] >= 0).sum())
        if self.groups.mixture is not None:
            good = batch["id"][batch["weight"] > 0]
            part = np.searchsorted(self.groups.mixture.boundaries, good, side="right")
            self._of_part += np.bincount(part, minlength=len(self._of_part))
        source = self.groups.source
        for row in np.flatnonzero(batch["reject"]).tolist():
            reason, index = REASONS[batch["reject"][row] - 1], int(batch["id"][row])
            key = f"{source.file(index)}#{index}" if reason in OF_FILES else source.key(index)
            if reason not in self.rejects:
                _LOG.warning(
                    "%s in sample %d (%s); more are only counted", reason, index, shown(key)
                )
            self.rejects[reason] = self.rejects.get(reason, 0) + 1
            if self.ledger is not None:
                epoch, _ = self.groups.at(self._samples, row)
                self.ledger.add(
                    key=key,
                    file=source.file(index),
                    reason=reason,
                    epoch=epoch,
                    after=self._samples,
                )

    def _judge_in_time(self) -> None:
        if self.seen >= min(self.min_samples_before_stop, self.samples_per_epoch):
            self.judge()


def joined_state(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The state of a run from those of the loaders of all its processes: what they count, added up.

    Args:
      states: of `Loader.get_state`, after the same batch.
    """
    rejects = sum((Counter(each["rejects"]) for each in states), Counter())
    return {
        **states[0],
        "seen": sum(each["seen"] for each in states),
        "rejects": dict(rejects),
        "parts": [sum(counts) for counts in zip(*(each["parts"] for each in states), strict=True)],
    }


def _stop(running: list[Any]) -> None:
    running.pop().close()


def _check(**values: tuple[float, float, float | None]) -> None:
    for name, (value, low, high) in values.items():
        if value < low or (high is not None and value > high):
            limits = f"at least {low}" if high is None else f"between {low} and {high}"
            raise ValueError(f"{name} must be {limits}, got {value}")
