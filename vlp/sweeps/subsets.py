"""A part of an evaluation set, drawn by a seed: the same pictures for every model."""

import dataclasses
import hashlib

import numpy as np
from jaxtyping import Int

from data_pipelines.sources import Source
from data_pipelines.sources.base import check_index
from data_pipelines.sources.survey import Survey
from data_pipelines.sources.within import Within
from vlp.sweeps.sets import EvalSet


class ChosenSource(Within):
    """The samples of a source at some places.

    Args:
        source: all samples.
        rows: the places.
    """

    def __init__(self, source: Source, rows: Int[np.ndarray, " n"]) -> None:
        self.source, self.rows = source, rows
        self.name, self.limits = source.name, source.limits

    @property
    def fingerprint(self) -> str:
        """That of the source, with the places."""
        return f"{self.source.fingerprint}[{hashlib.sha256(self.rows.tobytes()).hexdigest()[:32]}]"

    def __len__(self) -> int:
        return len(self.rows)

    def survey(self) -> tuple[Survey, ...]:
        """How many samples; what else is known is known of the whole."""
        return (Survey(self.name, len(self)),)

    def below(self, index: int) -> tuple[Source, int]:
        """The source, and the sample's index there."""
        return self.source, int(self.rows[check_index(index, len(self))])


def drawn(whole: EvalSet, count: int, *, seed: int = 0) -> EvalSet:
    """So many pictures of a set, in its order, with what belongs to them.

    Args:
        whole: the set.
        count: how many, fewer than there are.
        seed: of the draw.

    Raises:
        ValueError: the set asks questions of its own about several pictures each.
    """
    if whole.choices is not None:
        raise ValueError(
            f"a set of questions is judged whole, a limit of {count:,} pictures was given for "
            f"{whole.name}; leave it out of the suite, or the limit out"
        )
    rows = np.sort(np.random.default_rng(seed).permutation(len(whole))[:count])
    note = f"{count:,} of {len(whole):,} pictures, drawn by seed {seed}"
    found = dataclasses.replace(
        whole,
        pictures=ChosenSource(whole.pictures, rows),
        labels=None if whole.labels is None else whole.labels[rows],
        masks=None if whole.masks is None else whole.masks.at(rows),
        groups={field: [values[row] for row in rows] for field, values in whole.groups.items()},
        notes=[*whole.notes, note],
    )
    if whole.picture_of_text is None:
        return found
    place = np.searchsorted(rows, whole.picture_of_text)
    place = np.minimum(place, count - 1)
    kept = np.flatnonzero(rows[place] == whole.picture_of_text)
    texts = [whole.texts[row] for row in kept.tolist()]
    return dataclasses.replace(found, texts=texts, picture_of_text=place[kept])
