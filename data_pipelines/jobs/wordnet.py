"""Nouns of a text as synsets of WordNet.

Read are `index.noun` and, where it is there, `noun.exc` of a WordNet folder (`dict` of
https://wordnet.princeton.edu/download, or `corpora/wordnet` of NLTK's data).
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.files import json_bytes

# WordNet's own rules of the plural (morphy), the first that gives a noun.
_PLURALS = (
    ("ches", "ch"), ("shes", "sh"), ("ies", "y"), ("men", "man"), ("ses", "s"), ("ves", "f"),
    ("xes", "x"), ("zes", "z"), ("s", ""),
)  # fmt: skip
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# Words that are nouns in WordNet (a: ampere, he: helium) and hardly ever so in a caption.
_NO_NOUNS = frozenset(
    "a about above after again all am an and any are as at be been before being below both but by "
    "can could did do does down during each few for from further had has have he her here him his "
    "how i if in into is it its just like may me might more most must my no nor not now of off on "
    "once one only or other our out over own same shall she should so some such than that the "
    "their them then there these they this those through to too two under until up us very was we "
    "were what when where which while who whom why will with would you your".split()
)


class WordNet:
    """The nouns of a WordNet folder, each by its first and so most frequent sense.

    Args:
      folder: with `index.noun`.

    Raises:
      ValueError: there is none.

    References:
      Miller, 1995, https://doi.org/10.1145/219717.219748.
    """

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder) / "index.noun"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ValueError(
                f"a WordNet folder must have index.noun, {folder} has none that can be read "
                f"({error.strerror}); give the folder dict of a WordNet"
            ) from error
        self._nouns = dict(map(_entry, (line for line in lines if not line.startswith(" "))))
        self._longest = max((noun.count("_") + 1 for noun in self._nouns), default=1)
        self._odd = dict(_exceptions(Path(folder) / "noun.exc"))

    @property
    def fingerprint(self) -> str:
        """A hash of all that is read of the folder."""
        return hashlib.sha256(json_bytes([self._nouns, self._odd])).hexdigest()

    def synsets(self, text: str) -> dict[str, str]:
        """The synsets of a text's nouns, such as "n02084071", with the noun that stands for it.

        Of words that together are a noun ("ice cream") the longest row counts. There is no tagger
        of parts of speech: a word that can be a noun is taken for one, but for some sixty function
        words.
        """
        words = [word.lower() for word in _WORD.findall(text)]
        found: dict[str, str] = {}
        place = 0
        while place < len(words):
            length, noun = self._longest_noun(words[place : place + self._longest])
            if noun:
                found.setdefault(self._nouns[noun], noun)
            place += length
        return found

    def _longest_noun(self, words: list[str]) -> tuple[int, str]:
        for length in range(len(words), 0, -1):
            row = "_".join(words[:length])
            noun = "" if row in _NO_NOUNS else self._noun(row)
            if noun:
                return length, noun
        return 1, ""

    def _noun(self, word: str) -> str:
        """The noun that a word is a form of; "" for none."""
        return next((form for form in self._forms(word) if form in self._nouns), "")

    def _forms(self, word: str) -> Iterator[str]:
        if word in self._odd:
            yield self._odd[word]
        yield word
        for ending, singular in _PLURALS:
            if word.endswith(ending) and len(word) > len(ending) + 1:
                yield word[: len(word) - len(ending)] + singular


def _entry(line: str) -> tuple[str, str]:
    """A noun and the synset of its first sense: `lemma n senses p [p pointers] senses tags OFFSET`.

    Raises:
      ValueError: the line has another form.
    """
    try:
        fields = line.split()
        return fields[0], f"n{int(fields[6 + int(fields[3])]):08d}"
    except (ValueError, IndexError) as error:
        raise ValueError(f"index.noun must be WordNet's, got the line {line[:80]!r}") from error


def _exceptions(path: Path) -> Iterator[tuple[str, str]]:
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            form, *nouns = line.split()
            if nouns:
                yield form, nouns[0]
