"""Several sources as one."""

import bisect
from collections.abc import Sequence
from itertools import accumulate

from data_pipelines.sources.base import Source, check_index
from data_pipelines.sources.fingerprints import joined
from data_pipelines.sources.survey import Survey
from data_pipelines.sources.within import Within


class ConcatSource(Within):
    """The samples of several sources, one source after the other.

    Args:
      sources: at least one.

    Raises:
      ValueError: no sources, or sources with different limits.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        if not sources:
            raise ValueError("a ConcatSource needs at least one source, got none")
        self.sources = tuple(sources)
        self.name = "+".join(source.name for source in self.sources)
        self.limits = self.sources[0].limits
        if any(source.limits != self.limits for source in self.sources):
            raise ValueError("joined sources need the same limits; open them with one")
        self._ends = list(accumulate(len(source) for source in self.sources))

    @property
    def fingerprint(self) -> str:
        """Hash of every source's fingerprint, in order."""
        return joined("".join(source.fingerprint for source in self.sources))

    def __len__(self) -> int:
        return self._ends[-1]

    def survey(self) -> tuple[Survey, ...]:
        """What each source holds, one after the other."""
        return tuple(part for source in self.sources for part in source.survey())

    def below(self, index: int) -> tuple[Source, int]:
        """The source that a sample is from, and its index there."""
        check_index(index, len(self))
        position = bisect.bisect_right(self._ends, index)
        return self.sources[position], index - (self._ends[position - 1] if position else 0)
