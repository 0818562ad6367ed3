"""Captions of an emoji from its names, groups and skin tones.

The first line is THE caption. Training sees further ones, chosen from templates by a hash of the
emoji's key: always the same for the same emoji, different from one emoji to the next.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

_FEWEST, _MOST = 3, 5


def caption(entry: Mapping[str, Any]) -> str:
    """THE caption: the name, skin tones after a colon, in lower case."""
    name, tones = entry["name"].lower(), entry["skin_tones"]
    return f"{name}: {', '.join(tones)}" if tones else name


def training_captions(key: str, entry: Mapping[str, Any]) -> list[str]:
    """THE caption and 3 to 5 further ones, all different, in lower case.

    Args:
      key: decides which templates are used.
      entry: `name`, `short_names`, `category`, `subcategory` and `skin_tones`.
    """
    first = caption(entry)
    group = f"an emoji of {entry['category'].lower()}"
    others = [text for text in _candidates(entry) if text not in (first, group)]
    others = sorted(dict.fromkeys(others), key=lambda text: _draw(f"{key}\n{text}"))
    count = _FEWEST + _draw(key) % (_MOST - _FEWEST + 1)
    # The group alone is among them for all, so that prompts by group are no new kind of text.
    return [first, *others[: count - 1], group]


def _candidates(entry: Mapping[str, Any]) -> list[str]:
    name, tones = entry["name"].lower(), entry["skin_tones"]
    category, subcategory = entry["category"].lower(), _words(entry["subcategory"])
    short = [_words(text) for text in entry["short_names"] if any(c.isalpha() for c in text)]
    tone = " and ".join(tones)
    subjects = [name, *(text for text in short if text != _words(name))]
    # Alternately "dark skin tone baby" and "baby with dark skin tone".
    if tones:
        subjects = [form for text in subjects for form in (f"{tone} {text}", f"{text} with {tone}")]
    return [
        f"an emoji of {caption(entry)}",
        *subjects,
        *(f"{text} emoji" for text in subjects),
        *(f"{text}, {subcategory}" for text in subjects),
        *(f"{category}: {text}" for text in subjects),
    ]


def _words(text: str) -> str:
    return " ".join(text.lower().replace("-", " ").replace("_", " ").split())


def _draw(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
