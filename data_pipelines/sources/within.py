"""What sources have in common that are made of other sources."""

from collections.abc import Mapping
from typing import Any

from data_pipelines.sources.base import Source
from data_pipelines.sources.survey import Survey


class Within(Source):
    """A source whose samples are those of others; what it does not say itself, these say.

    Attributes:
      source: the one that has all of the samples, at the same places, unless `below` says others.
    """

    source: Source

    def __len__(self) -> int:
        return len(self.source)

    def survey(self) -> tuple[Survey, ...]:
        """What the source holds."""
        return self.source.survey()

    def below(self, index: int) -> tuple[Source, int]:
        """The source that a sample is from, and its index there.

        Raises:
          IndexError: there is no such sample.
        """
        return self.source, index

    def key(self, index: int) -> str:
        """The sample's name in its own source."""
        source, row = self.below(index)
        return source.key(row)

    def own_key(self, index: int) -> str:
        """The sample's name, where its own source knows it. Raises Reject."""
        source, row = self.below(index)
        return source.own_key(row)

    def file(self, index: int) -> str:
        """The path of the file that the sample lies in."""
        source, row = self.below(index)
        return source.file(row)

    def image(self, index: int) -> bytes:
        """The sample's image file."""
        source, row = self.below(index)
        return source.image(row)

    def audio(self, index: int) -> bytes:
        """The sample's sound file."""
        source, row = self.below(index)
        return source.audio(row)

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        """The sample's captions."""
        source, row = self.below(index)
        return source.captions(row)

    def meta(self, index: int) -> Mapping[str, Any]:
        """What the sample's own source knows beside the pair."""
        source, row = self.below(index)
        return source.meta(row)
