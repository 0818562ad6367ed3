"""A stretch of a source."""

from collections.abc import Mapping
from typing import Any

from data_pipelines.sources.base import Sample, Source, check_index
from data_pipelines.sources.survey import Survey


class PartSource:
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

    def __getitem__(self, index: int) -> Sample:
        return self.source[self._place(index)]

    def key(self, index: int) -> str:
        """The sample's name in the whole."""
        return self.source.key(self._place(index))

    def file(self, index: int) -> str:
        """The path of the file that the sample's image lies in."""
        return self.source.file(self._place(index))

    def image(self, index: int) -> bytes:
        """The sample's image file, without its captions."""
        return self.source.image(self._place(index))

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        """The sample's captions, without reading the image."""
        return self.source.captions(self._place(index))

    def meta(self, index: int) -> Mapping[str, Any]:
        """What the whole knows beside the pair."""
        return self.source.meta(self._place(index))

    def survey(self) -> tuple[Survey, ...]:
        """How many samples; what else is known is known of the whole."""
        return (Survey(self.name, len(self)),)

    def _place(self, index: int) -> int:
        check_index(index, len(self))
        return self.first + index
