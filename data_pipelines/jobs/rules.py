"""Filtering by rules: what a picture and its caption must be like."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from data_pipelines.jobs.facts import all_facts
from data_pipelines.jobs.words import Phrases
from data_pipelines.jobs.work import Work


@dataclasses.dataclass(frozen=True)
class Rules:
    """What stays. A rule that is None holds for everything; of captions the first is judged.

    DataComp's basic filter is `min_side=201, max_aspect=3, min_words=3, min_characters=6,
    languages=("en",)`.

    Attributes:
      min_side: pixels of the shorter side.
      max_aspect: longer side by the shorter.
      min_spread: standard deviation of the brightness (0 to 127) that a picture has: 2 leaves out
        empty ones.
      min_words, max_words: of the caption, by blanks.
      min_characters: of the caption.
      languages: codes such as "en", one of which the caption must be in.
      forbidden: words and phrases, none of which may stand in the caption.

    Raises:
      ValueError: nothing is asked for, a number is below 0, or a language is not known.

    References:
      Gadre et al., 2023 (DataComp), https://arxiv.org/abs/2304.14108, section 3.2.
    """

    min_side: int | None = None
    max_aspect: float | None = None
    min_spread: float | None = None
    min_words: int | None = None
    max_words: int | None = None
    min_characters: int | None = None
    languages: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = dataclasses.asdict(self)
        if not any(value not in (None, ()) for value in given.values()):
            raise ValueError(f"a filter needs a rule, got none; give one of {', '.join(given)}")
        for name, value in given.items():
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if self.languages:
            _check_languages(self.languages)

    def reason(self, fact: dict[str, Any]) -> str:
        """Which rule a readable sample breaks first; "" for none."""
        return self._of_picture(fact) or self._of_caption(fact["captions"][0])

    def _of_picture(self, fact: dict[str, Any]) -> str:
        shorter, longer = sorted((fact["width"], fact["height"]))
        if self.min_side is not None and shorter < self.min_side:
            return "picture small"
        if self.max_aspect is not None and longer > self.max_aspect * shorter:
            return "picture narrow"
        if self.min_spread is not None and fact["spread"] < self.min_spread:
            return "picture empty"
        return ""

    def _of_caption(self, caption: str) -> str:
        words = len(caption.split())
        if self.min_words is not None and words < self.min_words:
            return "caption of few words"
        if self.max_words is not None and words > self.max_words:
            return "caption of many words"
        if self.min_characters is not None and len(caption) < self.min_characters:
            return "caption of few characters"
        if self.forbidden and _phrases(self.forbidden).found(caption):
            return "caption with a forbidden word"
        if self.languages and language(caption) not in self.languages:
            return "caption in another language"
        return ""


def by_rules(made: beam.Pipeline, *, work: Work, rules: Rules) -> beam.PCollection:
    """Verdicts on what breaks a rule."""
    return all_facts(made, work) | beam.FlatMap(functools.partial(_verdict, rules))


def language(text: str) -> str:
    """The likeliest language of a text, as a code; of few words often a wrong one.

    References:
      Lui and Baldwin, 2012 (langid.py), https://aclanthology.org/P12-3005.
    """
    import py3langid

    return py3langid.classify(text)[0]


def _check_languages(languages: Sequence[str]) -> None:
    import py3langid

    known = sorted({code for code, _ in py3langid.rank("")})
    for code in languages:
        if code not in known:
            raise ValueError(f"a language must be one of {', '.join(known)}; got {code!r}")


def _verdict(rules: Rules, fact: dict[str, Any]):
    if not fact["reject"] and (reason := rules.reason(fact)):
        yield fact["index"], {"reason": reason}


@functools.lru_cache(maxsize=2)
def _phrases(forbidden: tuple[str, ...]) -> Phrases:
    return Phrases(forbidden)
