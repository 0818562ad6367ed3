"""What a source holds and what in it is no sample, counted before anything is read."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from data_pipelines.faults import shown

# Beyond so many reasons the rest is one: names like img.0001 have an extension each.
_REASONS = 12
_OTHERS = "other extensions"


@dataclasses.dataclass(frozen=True)
class Stray:
    """Files of one kind that belong to no sample.

    Attributes:
      reason: why, in words that say the remedy ("no dots in KEY").
      count: how many.
      example: the name of one, as a terminal may show it.
    """

    reason: str
    count: int
    example: str


class Strays:
    """Counts files that belong to no sample by reason."""

    def __init__(self) -> None:
        self._found: dict[str, Stray] = {}

    def __len__(self) -> int:
        """Files, not reasons."""
        return sum(stray.count for stray in self._found.values())

    def add(self, reason: str, example: str, *, count: int = 1) -> None:
        """Counts files; the first example of a reason stays."""
        if reason not in self._found and len(self._found) >= _REASONS:
            reason = _OTHERS
        known = self._found.get(reason) or Stray(reason, 0, shown(example))
        self._found[reason] = dataclasses.replace(known, count=known.count + count)

    def by_count(self) -> tuple[Stray, ...]:
        """All of them, the most frequent reason first."""
        return tuple(sorted(self._found.values(), key=lambda stray: (-stray.count, stray.reason)))


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is known of a source without reading a sample.

    Attributes:
      name: of the source.
      samples: that have an index.
      without_image: of these, how many name no picture that is there; None where nobody knows.
      without_caption: how many have no caption; None where nobody knows.
      without_audio: of data with sounds, how many have none; None for others.
      strays: files that belong to no sample, by reason, the most frequent first.
      image_example: of a sample without a picture: its key, and where its picture may be.
      caption_example: the key of a sample without a caption.
      gone: files that were indexed and are not there any more; their samples are counted as bad.
    """

    name: str
    samples: int
    without_image: int | None = None
    without_caption: int | None = None
    strays: tuple[Stray, ...] = ()
    image_example: str = ""
    caption_example: str = ""
    without_audio: int | None = None
    gone: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)


def explained(strays: Iterable[Stray]) -> str:
    """Strays in one line."""
    return ", ".join(f"{stray.count:,} like {stray.example} ({stray.reason})" for stray in strays)
