"""A view of a set whose embeddings are given, so that scores can be worked out by hand."""

import dataclasses
from typing import Any

import numpy as np

from data_pipelines.limits import LIMITS
from data_pipelines.sources import Source
from vlp.sweeps.judged import Judged
from vlp.sweeps.precision import Stages
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.vectors import Rows


class Pictures(Source):
    """A source of so many pictures, which nobody reads."""

    name, limits, fingerprint = "given", LIMITS, "given"  # type: ignore[assignment]

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


@dataclasses.dataclass
class GivenView:
    """Pictures whose vectors are their scores with the texts, in the order these are first seen.

    `bad` are pictures that cannot be read.
    """

    set: EvalSet
    scores: np.ndarray
    bad: tuple[int, ...] = ()
    opened: Any = None
    rule: str = "plain"
    seed: int = 0
    stages: Stages = Stages()
    seen: dict[str, int] = dataclasses.field(default_factory=dict)

    def on(self, found):
        return dataclasses.replace(self, set=found)

    def pictures(self, of=None):
        ids = np.asarray([i for i in range(len(self.set)) if i not in self.bad], np.int64)
        return Rows(ids, np.asarray(self.scores, np.float32)[ids], ["a note"])

    def captions(self, texts):
        places = [self.seen.setdefault(text, len(self.seen)) for text in texts]
        return np.eye(np.shape(self.scores)[-1], dtype=np.float32)[places]

    prompts = captions


def given(scores, *, bad=(), **known):
    """The view of a set that has as many pictures as there are rows of scores."""
    scores = np.asarray(scores, np.float32)
    return GivenView(EvalSet("given", Pictures(len(scores)), **known), scores, bad)


def values(judged: Judged, *, hit: bool = False) -> dict[str, float]:
    """The metrics, or those with every tie won."""
    once = np.ones(judged.samples)
    if hit:
        return {k: m.if_hit(once) for k, m in judged.measures.items() if m.if_hit is not None}
    return {name: measure.of(once) for name, measure in judged.measures.items()}


def chances(judged: Judged) -> dict[str, float | None]:
    """What guessing gives."""
    return {name: measure.chance for name, measure in judged.measures.items()}
