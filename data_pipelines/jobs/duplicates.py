"""Duplicates within a data set, and of pictures that a model is to be judged on.

Of equal pictures the first stays. Of near ones each goes that has a near one before it, whether
that one stays or not: no two that stay are near, and of a chain, each near to the next, the first
alone stays. Pictures to be judged on come before all others.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np

from data_pipelines.jobs.facts import all_facts
from data_pipelines.jobs.look import BITS
from data_pipelines.jobs.vectors import read_vectors
from data_pipelines.jobs.verdicts import Verdict
from data_pipelines.jobs.work import Work

NO_VECTOR = "no vector"
_BLOCK = 1024  # rows compared at once


@dataclasses.dataclass(frozen=True)
class Near:
    """When two pictures are near duplicates: both numbers are small.

    Attributes:
      bits: of the 64 of the perceptual hash, how many differ at most; under 0 only equal files are
        duplicates.
      cell: largest difference of two cells, 0 to 255, of the pictures at 8 x 8 pixels: hashes
        alone take one drawn face for another.
      min_spread: pictures with less contrast have a hash of noise, so that only equal ones count.

    Raises:
      ValueError: a value out of its range.
    """

    bits: int = 4
    cell: float = 10.0
    min_spread: float = 2.0

    def __post_init__(self) -> None:
        if not -1 <= self.bits < BITS // 4:
            raise ValueError(
                f"bits that differ must be of -1 (equal files only) to {BITS // 4 - 1}, got "
                f"{self.bits}; try 4"
            )


def by_look(
    made: beam.Pipeline, *, work: Work, near: Near, against: Work | None = None
) -> beam.PCollection:
    """Verdicts on duplicates, with the index `of` the first or nearest before it.

    Args:
      made: a pipeline.
      work: the data, whose facts are there.
      near: when pictures are duplicates.
      against: pictures to be judged on, whose facts lie in the folder "against"; their indices are
        told as -1, -2...
    """
    rows = all_facts(made, work) | "readable" >> beam.Filter(_readable)
    if against is not None:
        judged = all_facts(made, against, where="against", label="judged: ")
        kept = judged | "judged readable" >> beam.Filter(_readable) | beam.Map(_before_all)
        rows = (rows, kept) | "with judged" >> beam.Flatten()
    groups = rows | beam.Map(lambda row: (row["sha256"], row)) | "equal" >> beam.GroupByKey()
    equal = groups | "again" >> beam.FlatMapTuple(_equal)
    pairs = (
        groups
        | "first" >> beam.MapTuple(lambda _, rows: min(rows, key=lambda row: row["index"]))
        | "with contrast" >> beam.Filter(lambda row: row["spread"] >= near.min_spread)
        | "bands" >> beam.FlatMap(partial(_bands, near.bits))
        | "maybe near" >> beam.GroupByKey()
        | "near" >> beam.FlatMapTuple(partial(_near, near))
        | "first near" >> beam.CombinePerKey(min)
        | "near verdict" >> beam.MapTuple(partial(_verdict, "near duplicate"))
    )
    return (equal, pairs) | "both" >> beam.Flatten() | beam.Filter(lambda said: said[0] >= 0)


def by_embedding(
    made: beam.Pipeline, *, samples: int, shards: Sequence[str], cosine: float
) -> beam.PCollection:
    """Verdicts on pictures whose embedding is near to that of one before it, or that have none.

    Every shard is compared with every other: exact, and quadratic in the data.

    Args:
      made: a pipeline.
      samples: of the data; those without a vector, whose pictures could not be read, do not stay.
      shards: the vectors of each stretch of the data, see `read_vectors`.
      cosine: the least of near ones.

    References:
      Abbas et al., 2023 (SemDeDup), https://arxiv.org/abs/2303.09540, which compares within
      clusters only.
    """
    pairs = [(a, b) for j, b in enumerate(shards) for a in shards[: j + 1]]
    near = (
        made
        | beam.Create(pairs)
        | beam.Reshuffle()
        | "compare" >> beam.FlatMapTuple(partial(_alike, cosine))
        | "first alike" >> beam.CombinePerKey(min)
        | beam.MapTuple(partial(_verdict, "near duplicate"))
    )
    embedded = made | "shards" >> beam.Create(list(shards)) | "ids" >> beam.FlatMap(_ids)
    every = made | "every sample" >> beam.Create(range(samples)) | beam.Map(lambda i: (i, None))
    missing = (
        {"embedded": embedded, "every": every}
        | beam.CoGroupByKey()
        | "without" >> beam.FlatMapTuple(_without_vector)
    )
    return (near, missing) | "both" >> beam.Flatten()


def _readable(row: dict[str, Any]) -> bool:
    return bool(row["sha256"])


def _before_all(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"index": -1 - row["index"]}


def _verdict(what: str, index: int, of: int) -> Verdict:
    return index, {"reason": what if of >= 0 else f"{what} of a picture to be judged on", "of": of}


def _equal(_: bytes, rows: Iterable[dict[str, Any]]) -> Iterator[Verdict]:
    first, *others = sorted(row["index"] for row in rows)
    for index in others:
        yield _verdict("duplicate", index, first)


def _bands(bits: int, row: dict[str, Any]) -> Iterator[tuple[tuple[int, int], tuple]]:
    """The hash in bits + 1 pieces: of two that differ in so many bits one piece is equal."""
    if bits < 0:
        return
    edges = np.linspace(0, BITS, bits + 2).astype(int).tolist()
    told = (row["index"], row["hash"], row["small"])
    for band, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
        yield (band, (row["hash"] >> low) & ((1 << (high - low)) - 1)), told


def _near(near: Near, _: tuple[int, int], rows: Iterable[tuple]) -> Iterator[tuple[int, int]]:
    """Of each picture of a group that has a near one before it both indices."""
    ordered = sorted(rows)
    index = np.array([row[0] for row in ordered], np.int64)
    hash = np.array([row[1] for row in ordered], np.uint64)
    small = np.frombuffer(b"".join(row[2] for row in ordered), np.uint8)
    small = small.reshape(len(ordered), -1).astype(np.int16)
    for start in range(0, len(ordered), _BLOCK):
        stop = start + _BLOCK
        differ = np.bitwise_count(hash[start:stop, None] ^ hash[None, :stop])
        for later, earlier in zip(*np.nonzero(differ <= near.bits), strict=True):
            later += start
            if earlier < later and _same_cells(small[later], small[earlier], near.cell):
                yield int(index[later]), int(index[earlier])


def _same_cells(one: np.ndarray, other: np.ndarray, most: float) -> bool:
    return float(np.abs(one - other).reshape(-1, 3).mean(axis=1).max()) <= most


def _ids(shard: str) -> Iterator[tuple[int, None]]:
    ids, _ = read_vectors(shard)
    yield from ((index, None) for index in ids.tolist())


def _without_vector(index: int, groups: dict[str, Iterable[None]]) -> Iterator[Verdict]:
    if not any(True for _ in groups["embedded"]):
        yield index, {"reason": NO_VECTOR}


def _alike(cosine: float, one: str, other: str) -> Iterator[tuple[int, int]]:
    """Of each picture of the second shard that has one alike before it both ids."""
    (early, first), (late, second) = map(read_vectors, (one, other))
    for start in range(0, len(late), _BLOCK):
        close = second[start : start + _BLOCK] @ first.T >= cosine
        for later, earlier in zip(*np.nonzero(close), strict=True):
            if early[earlier] < late[start + later]:
                yield int(late[start + later]), int(early[earlier])
