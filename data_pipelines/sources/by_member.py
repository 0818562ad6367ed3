"""What sources have in common whose samples are made of members: a picture, captions, JSON."""

import abc
from typing import Any

from data_pipelines.faults import OF_FILES, Reject
from data_pipelines.limits import Limits
from data_pipelines.sources.base import Source, joined_captions, parse_metadata
from data_pipelines.sources.labels import label_names, parse_class
from data_pipelines.sources.members import (
    AUDIO,
    CLASS,
    IMAGE,
    LINES,
    META,
    MISSING,
    TEXT,
    TOO_LARGE,
    UNUSABLE,
)

# Several captions, each within its own limit.
_MOST_CAPTIONS = 16
_NO_CLASS = (None, "")


class ByMember(Source):
    """Reads each member of a sample only where it is asked for.

    Args:
      by_line: whether the text of a sample, too, holds a caption a line.
      limits: how large the members may be.
    """

    def __init__(self, *, by_line: bool, limits: Limits) -> None:
        self.by_line, self.limits = by_line, limits
        one = limits.caption_bytes
        self._largest = {
            IMAGE: limits.image_bytes,
            AUDIO: limits.audio_bytes,
            TEXT: _MOST_CAPTIONS * one if by_line else one,
            LINES: _MOST_CAPTIONS * one,
            META: limits.metadata_bytes,
            CLASS: limits.metadata_bytes,
        }

    @abc.abstractmethod
    def _member(self, index: int, role: str) -> bytes | None:
        """A member; None where the sample has none. Raises Reject, see `_check_size`."""

    def image(self, index: int) -> bytes:
        """The image file, without the captions."""
        return self._encoded(index, IMAGE)

    def audio(self, index: int) -> bytes:
        """The sound file, and nothing else of the sample."""
        return self._encoded(index, AUDIO)

    def captions(self, index: int) -> tuple[bytes, ...]:
        """The sample's text, then its captions one a line, without reading the image."""
        text, lines = self._member(index, TEXT), self._member(index, LINES)
        return joined_captions(text, lines, by_line=self.by_line)

    def meta(self, index: int) -> dict[str, Any]:
        """What the sample's JSON says, and its class as "cls"; empty where it has neither.

        JSON that cannot be used, or says nothing of the class, costs nothing of a class that stands
        elsewhere.

        Raises:
          Reject: none of it can be used, JSON cannot be read now, or JSON and KEY.cls name
            different classes.
        """
        said = self._member(index, CLASS)
        label = None if said is None else parse_class(said)
        written = {} if label in _NO_CLASS else {CLASS: label}
        known = self._usual_class(index) | written
        try:
            text = self._member(index, META)
            found = {} if text is None else parse_metadata(text)
        except Reject as fault:
            if not known or fault.reason in OF_FILES:
                raise
            return known
        if found.get(CLASS) in _NO_CLASS:
            return found | known
        if written and not _same_label(written[CLASS], found[CLASS]):
            both = f"{written[CLASS]!r} in .cls and {found[CLASS]!r} in .json"
            raise Reject("metadata invalid", f"a sample has one class, got {both}; remove one")
        return known | found

    def _encoded(self, index: int, role: str) -> bytes:
        data = self._member(index, role)
        if data is None:
            raise Reject(MISSING[role])
        return data

    def _usual_class(self, index: int) -> dict[str, Any]:
        """The class of a sample that says none itself."""
        return {}

    def _check_size(self, role: str, size: int) -> None:
        """Raises Reject where a member is too large to be read."""
        if size > self._largest[role]:
            raise Reject(TOO_LARGE.get(role, UNUSABLE), f"{size} > {self._largest[role]} bytes")


def _same_label(one: Any, other: Any) -> bool:
    try:
        return label_names(one) == label_names(other)
    except ValueError:
        return False
