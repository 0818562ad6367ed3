"""Captions of several kinds a sample: the alternative text, synthetic ones, translations.

References:
  Li et al., 2024 (Recap-DataComp-1B), https://arxiv.org/abs/2406.08478: both captions, mixed;
  Lai et al., 2023 (VeCLIP), https://arxiv.org/abs/2310.07699: one or the other at random;
  Vasu et al., 2023 (MobileCLIP, DataCompDR), https://arxiv.org/abs/2311.17049: several synthetic
  captions a picture.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data_pipelines.faults import Reject, shown
from data_pipelines.sources.base import Source
from data_pipelines.sources.drawn import ByWeight
from data_pipelines.sources.rows import texts_of
from data_pipelines.sources.within import Within

OWN = "own"
_LOOKED_AT = 64


class CaptionKinds(Within):
    """The samples of a source with captions of several kinds, each drawn as its weight says.

    Of a kind with several captions each is as likely; what a sample has not leaves its weight to
    the other kinds.

    Args:
      source: the samples.
      weights: how often each kind is drawn, above 0. "own" is what the source itself has as
        captions; any other name is a field of the samples (JSON, a column), a text or a list of
        texts.

    Raises:
      ValueError: no weights, one that is not above 0, or a field that none of some samples has.

    Examples:
      `dict(own=0.3, re_caption=0.7)`
    """

    def __init__(self, source: Source, weights: Mapping[str, float]) -> None:
        self.source, self.limits = source, source.limits
        self.weights = {name: float(weight) for name, weight in sorted(weights.items())}
        if not self.weights or min(self.weights.values()) <= 0:
            raise ValueError(
                "kinds of captions have weights above 0, such as dict(own=0.3, re_caption=0.7), "
                f"got {dict(weights)}"
            )
        self.name = f"{source.name} with captions {', '.join(map(shown, self.weights))}"
        self._check_fields()

    @property
    def fingerprint(self) -> str:
        """That of the source, with the weights."""
        said = ", ".join(f"{name} {weight}" for name, weight in self.weights.items())
        return f"{self.source.fingerprint}[captions: {said}]"

    def captions(self, index: int) -> ByWeight:
        """The captions of all kinds that the sample has. Raises Reject: none, or one is damaged."""
        found: list[tuple[str | bytes, float]] = []
        fault = Reject("caption missing")
        for name, weight in self.weights.items():
            try:
                texts = self._texts(index, name)
            except Reject as error:
                if not error.is_missing and error.reason != "caption empty":
                    raise  # what it has is not known
                fault = error
                continue
            found += [(text, weight / len(texts)) for text in texts]
        if not found:
            raise fault
        return ByWeight(found)

    def _texts(self, index: int, name: str) -> tuple[str | bytes, ...]:
        if name == OWN:
            return self.source.captions(index)
        return texts_of(self.source.meta(index).get(name))

    def _check_fields(self) -> None:
        """Refuses a field that no sample has, for its weight would go to the others in silence."""
        places = np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT).astype(int)).tolist()
        metas = list(self._metas(places))
        fields = sorted({field for meta in metas for field in meta})
        for name in self.weights.keys() - {OWN}:
            if not any(meta.get(name) for meta in metas):
                raise ValueError(
                    f"captions of the kind {name!r} must be in the field of that name, and none of "
                    f"{len(places)} samples of {self.source.name} looked at has it; the fields are "
                    f"{', '.join(map(shown, fields)) or 'none'}, and {OWN!r} is what it has itself"
                )

    def _metas(self, places: list[int]) -> Iterator[Mapping[str, Any]]:
        for index in places:
            try:
                yield self.source.meta(index)
            except Reject:
                continue
