"""A stretch of a source."""

from data_pipelines.sources.base import Source, check_index
from data_pipelines.sources.survey import Survey
from data_pipelines.sources.within import Within


class PartSource(Within):
    """The samples `first` to `stop` (not included) of a source, counted from 0.

    Args:
      source: the whole.
      first: index of its first sample.
      stop: index behind its last.

    Raises:
      ValueError: the source has no such stretch.
    """

    def __init__(self, source: Source, first: int, stop: int) -> None:
        if not 0 <= first <= stop <= len(source):
            raise ValueError(
                f"a part must lie within the {len(source)} samples of {source.name}, got "
                f"{first} to {stop}"
            )
        self.source, self.first, self.stop = source, first, stop
        self.name, self.limits = f"{source.name}[{first}:{stop}]", source.limits

    @property
    def fingerprint(self) -> str:
        """That of the whole, with the place."""
        return f"{self.source.fingerprint}[{self.first}:{self.stop}]"

    def __len__(self) -> int:
        return self.stop - self.first

    def survey(self) -> tuple[Survey, ...]:
        """How many samples; what else is known is known of the whole."""
        return (Survey(self.name, len(self)),)

    def below(self, index: int) -> tuple[Source, int]:
        """The whole, and the sample's index there."""
        check_index(index, len(self))
        return self.source, self.first + index
