"""Filtering by how well picture and caption belong together, as a dual encoder has it.

The score of a sample is the cosine of its picture and its caption, of several the best. With the
vectors of CLIP that is LAION's filter, with those of a model trained to filter that of DFN.

References:
  Schuhmann et al., 2022 (LAION-5B), https://arxiv.org/abs/2210.08402, section 3; Fang et al., 2023
  (DFN), https://arxiv.org/abs/2309.17425, section 3.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import apache_beam as beam
import numpy as np
from jaxtyping import Float, Int

from data_pipelines.files import write_json
from data_pipelines.jobs.runners import pipeline
from data_pipelines.jobs.vectors import read_vectors
from data_pipelines.jobs.verdicts import Verdict
from data_pipelines.jobs.work import Work

_BINS = 2**18  # of the cosine, -1 to 1: the share that stays is exact to what falls into one
NO_SCORE = "no score"
LEAST = "least_score.json"
Shard = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What stays: by a threshold or by a share.

    Attributes:
      threshold: the least cosine.
      share: of the samples that have a score, the best: over 0 and at most 1. As many stay, and
        those that tie with the last.

    Raises:
      ValueError: there are both or neither, or a value is out of its range.
    """

    threshold: float | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if (self.threshold is None) == (self.share is None):
            raise ValueError("a filter by score needs a threshold or a share, one of them")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold must be a cosine, -1 to 1, got {self.threshold}")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"share must be over 0 and at most 1, got {self.share}; try 0.3")


def least_score(work: Work, flags: Sequence[str], shards: Sequence[Shard], share: float) -> float:
    """The cosine from which on the best share stays, kept in the folder of the work.

    Args:
      work: the folder.
      flags: of the runner.
      shards: the vectors of pictures and of captions of each stretch, see `read_vectors`.
      share: see `Wanted`.

    Raises:
      ValueError: the folder keeps the cosine of another share.
    """
    path = work.out / LEAST
    if not path.exists():
        with pipeline(flags) as made:
            _ = (
                _scored(made, shards)
                | beam.CombineGlobally(_Histogram())
                | "write least" >> beam.Map(partial(_write_least, path, share))
            )
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept.get("share") != share:
        raise ValueError(
            f"{path} must be of the share {share}, it is of {kept.get('share')}; give another --out"
        )
    return kept["least"]


def by_score(
    made: beam.Pipeline, *, samples: int, shards: Sequence[Shard], least: float
) -> beam.PCollection:
    """Verdicts on all samples, each with its score.

    Args:
      made: a pipeline.
      samples: of the data; those without a score do not stay.
      shards: as in `least_score`.
      least: the cosine of what stays.
    """
    said = _scored(made, shards) | "say" >> beam.Map(partial(_say, least))
    every = made | "every sample" >> beam.Create(range(samples)) | beam.Map(lambda i: (i, None))
    return (
        {"said": said, "every": every}
        | beam.CoGroupByKey()
        | beam.MapTuple(lambda i, groups: (i, next(iter(groups["said"]), {"reason": NO_SCORE})))
    )


def best_scores(
    image_ids: Int[np.ndarray, " n"],
    images: Float[np.ndarray, "n d"],
    caption_ids: Int[np.ndarray, " m"],
    captions: Float[np.ndarray, "m d"],
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The samples that have both a picture and a caption, and the best cosine of each.

    Args:
      image_ids, caption_ids: the sample of each row, ascending.
      images, captions: unit-norm vectors.
    """
    places = np.searchsorted(image_ids, caption_ids)
    known = places < len(image_ids)
    known[known] = image_ids[places[known]] == caption_ids[known]
    places, of = places[known], caption_ids[known]
    cosines = np.einsum("nd,nd->n", images[places], captions[known])
    ids, starts = np.unique(of, return_index=True)
    return ids, np.maximum.reduceat(cosines, starts) if len(ids) else cosines


def _scored(made: beam.Pipeline, shards: Sequence[Shard]) -> beam.PCollection:
    return made | beam.Create(list(shards)) | beam.Reshuffle() | "score" >> beam.FlatMap(_scores)


def _scores(shard: Shard) -> Iterator[tuple[int, float]]:
    images, captions = map(read_vectors, shard)
    ids, scores = best_scores(*images, *captions)
    yield from zip(ids.tolist(), scores.tolist(), strict=True)


class _Histogram(beam.CombineFn):
    """How many scores fall into each bin."""

    def create_accumulator(self) -> np.ndarray:
        return np.zeros(_BINS, np.int64)

    def add_input(self, counts: np.ndarray, scored: tuple[int, float]) -> np.ndarray:
        counts[_bin(scored[1])] += 1
        return counts

    def merge_accumulators(self, many: Iterable[np.ndarray]) -> np.ndarray:
        return np.sum(list(many), axis=0)

    def extract_output(self, counts: np.ndarray) -> np.ndarray:
        return counts


def _bin(score: float) -> int:
    return min(max(int((score + 1) / 2 * _BINS), 0), _BINS - 1)


def _write_least(path: Path, share: float, counts: np.ndarray) -> None:
    """Writes the lower edge of the bin above which the share is reached."""
    from_the_top = np.cumsum(counts[::-1])
    place = int(np.searchsorted(from_the_top, np.ceil(share * from_the_top[-1])))
    write_json(path, {"share": share, "least": (_BINS - 1 - place) / _BINS * 2 - 1})


def _say(least: float, scored: tuple[int, float]) -> Verdict:
    index, score = scored
    told = {"score": round(score, 6)}
    return index, told if score >= least else {"reason": "score low", **told}
