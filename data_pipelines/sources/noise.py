"""A source with wrong captions, to measure what noise in the data does to a method."""

import numpy as np

from data_pipelines.sources.base import Source, check_index
from data_pipelines.sources.within import Within


class ShuffledCaptions(Within):
    """The samples of a source, some of them with the captions of another; images stay.

    The chosen samples pass their captions around in one circle, so that none keeps its own and
    none is lost. Equal captions of different samples are not told apart.

    Args:
      source: the pairs.
      share: of the samples that get captions of another, in 0..1.
      seed: decides which, and whose; the same for all runs that are to be compared.

    Raises:
      ValueError: the share is out of range, or chooses a single sample.
    """

    def __init__(self, source: Source, *, share: float, seed: int = 0) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"the share of shuffled captions must lie in 0..1, got {share}")
        self.source, self.share, self.seed = source, share, seed
        chosen = round(share * len(source))
        if chosen == 1:
            raise ValueError(
                f"shuffled captions need two samples or more, a share of {share} of "
                f"{len(source)} is one; give a larger share, or 0 for none"
            )
        circle = np.random.default_rng(seed).permutation(len(source))[:chosen]
        self._whose = np.arange(len(source))
        self._whose[circle] = np.roll(circle, 1)
        self.name = f"{source.name} with {share:.0%} shuffled captions"
        self.limits = source.limits

    @property
    def fingerprint(self) -> str:
        """That of the source, with what was done to it."""
        return f"{self.source.fingerprint}[captions shuffled: {self.share}, seed {self.seed}]"

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        """The captions that this image is given."""
        return self.source.captions(int(self._whose[check_index(index, len(self))]))
