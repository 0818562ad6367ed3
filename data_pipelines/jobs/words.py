"""Which of many phrases stand in a text, all looked for at once."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import ahocorasick_rs


class Phrases:
    """Phrases to be found as whole words, whatever their case. Pickles as the phrases.

    Args:
      phrases: at least one; two that differ by case are the same.

    References:
      Aho and Corasick, 1975, https://doi.org/10.1145/360825.360855.
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self._phrases = [phrase.casefold() for phrase in phrases]

    @cached_property
    def _automaton(self) -> Any:
        return ahocorasick_rs.AhoCorasick(self._phrases)

    def __getstate__(self) -> dict[str, Any]:
        return {"_phrases": self._phrases}

    def found(self, text: str) -> list[int]:
        """The numbers of the phrases in a text, ascending, each once."""
        text = text.casefold()
        matches = self._automaton.find_matches_as_indexes(text, overlapping=True)
        return sorted({which for which, start, end in matches if _whole(text, start, end)})


def _whole(text: str, start: int, end: int) -> bool:
    """Whether what stands there begins and ends where words do."""
    return not (
        (start and text[start].isalnum() and text[start - 1].isalnum())
        or (end < len(text) and text[end - 1].isalnum() and text[end].isalnum())
    )
