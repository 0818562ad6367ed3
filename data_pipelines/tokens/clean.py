"""What is done to a text before it is cut into pieces, as each family of models was trained.

References:
  Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021
  (arXiv 2103.00020), https://github.com/openai/CLIP: ftfy, HTML, white space, lower case.
  https://github.com/google-research/big_vision: lower case of ASCII letters; canonical captions.
"""

import html
import string
from collections.abc import Callable

import ftfy

from data_pipelines.checks import check_choice

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def repaired(text: str) -> str:
    """Mojibake, ligatures and quotes put right, HTML entities of up to two levels resolved."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text.strip()  # as most captions are: nothing that any of them would change
    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def whitespace(text: str) -> str:
    """Repaired, with single spaces."""
    return " ".join(repaired(text).split())


def lower(text: str) -> str:
    """Repaired, with single spaces, in lower case: what CLIP was trained on."""
    return whitespace(text).lower()


def canonicalize(text: str) -> str:
    """Repaired, in lower case, without ASCII punctuation (an underscore is a space)."""
    text = repaired(text).replace("_", " ").translate(_NO_PUNCTUATION)
    return " ".join(text.lower().split())


def without_punctuation(text: str) -> str:
    """The text less ASCII punctuation."""
    return text.translate(_NO_PUNCTUATION)


def ascii_lower(text: str) -> str:
    """A to Z in lower case and nothing else, as TensorFlow's `strings.lower` by default."""
    return text.translate(_ASCII_LOWER)


CLEANINGS: dict[str, Callable[[str], str]] = {
    "none": str,
    "ascii_lower": ascii_lower,
    "whitespace": whitespace,
    "lower": lower,
    "canonicalize": canonicalize,
}


def cleaning(name: str) -> Callable[[str], str]:
    """The cleaning of that name.

    Raises:
      ValueError: there is none.
    """
    check_choice("clean", name, CLEANINGS)
    return CLEANINGS[name]
