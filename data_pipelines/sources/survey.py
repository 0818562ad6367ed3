"""What a source holds and what in it is no sample: counted at the start, so that nothing is lost."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Stray:
    """Files of one kind that belong to no sample.

    Attributes:
      reason: why, in words that say the remedy ("no dots in KEY").
      count: how many.
      example: the name of one.
    """

    reason: str
    count: int
    example: str


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is known of a source without reading a sample.

    Attributes:
      name: of the source.
      samples: that have an index.
      without_image: of these, how many name no picture; None where that is not known.
      without_caption: how many have no caption; None where that is not known.
      strays: files that belong to no sample, by reason, the most frequent first.
    """

    name: str
    samples: int
    without_image: int | None = None
    without_caption: int | None = None
    strays: tuple[Stray, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)


def survey(source: Any) -> tuple[Survey, ...]:
    """One survey for each place that a source reads from."""
    found = getattr(source, "survey", None)
    return (Survey(source.name, len(source)),) if found is None else found()
