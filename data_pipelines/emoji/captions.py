"""Captions of an emoji from its names, keywords, groups and skin tones.

The first line is THE caption. Training sees further ones, as people ask: other names, with and
without an article, keywords, groups. Which of them an emoji has is drawn by a hash of its key:
always the same for the same emoji, different from one emoji to the next.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

_EMOJI = ("an emoji of {}", "{} emoji", "a picture of {}")
# By the sound of it: "a unicorn", "an hourglass".
_SPOKEN_WITH_A = ("euro", "one", "u.s.", "uga", "uk", "uni", "uru", "us ")
_SPOKEN_WITH_AN = ("fm ", "heir", "honest", "hour", "mx ", "ng ", "sos", "x ray", "x-ray")
_NAMES, _FURTHER = 4, 2
_KEYWORDS = 4  # in a line of them


def caption(entry: Mapping[str, Any]) -> str:
    """THE caption: the name, skin tones after a colon, in lower case."""
    name, tones = entry["name"].lower(), entry["skin_tones"]
    return f"{name}: {', '.join(tones)}" if tones else name


def training_captions(key: str, entry: Mapping[str, Any]) -> list[str]:
    """THE caption, the same with an article, and a few further ones, all different, in lower case.

    Args:
      key: decides which names, templates and keywords are used.
      entry: `name`, `common_name`, `short_names`, `keywords`, `category`, `subcategory` and
        `skin_tones`.
    """
    first, names = caption(entry), names_of(entry)
    others = [name for name in names if name != first]
    further = [
        *others,
        f"the {first}",
        *(template.format(_drawn(key, template, names)) for template in _EMOJI),
        f"{_drawn(key, 'kind', names)}, {_words(entry['subcategory'])}",
    ]
    lines = [
        first,
        with_article(first),
        *(with_article(name) for name in others[:1]),
        *_keyword_lines(key, entry, names),
        *_shuffled(key, dict.fromkeys(further))[:_FURTHER],
        # The group alone is among them for all, so that prompts by group are no new kind of text.
        f"an emoji of {entry['category'].lower()}",
    ]
    return list(dict.fromkeys(lines))


def names_of(entry: Mapping[str, Any]) -> list[str]:
    """What the emoji is called, at most four names: official, common, short ones, with its tones.

    Args:
      entry: see `training_captions`.
    """
    short = [_words(text) for text in entry["short_names"] if any(c.isalpha() for c in text)]
    names = list(dict.fromkeys((_words(entry["name"]), _words(entry["common_name"]), *short)))
    tone = " and ".join(entry["skin_tones"])
    if tone:
        # Alternately "dark skin tone baby" and "baby with dark skin tone".
        names = [form for name in names for form in (f"{name} with {tone}", f"{tone} {name}")]
    return names[:_NAMES]


def with_article(name: str) -> str:
    """The name with "a" or "an" in front, as it is spoken."""
    vowel = name.startswith(tuple("aeiou")) and not name.startswith(_SPOKEN_WITH_A)
    return f"{'an' if vowel or name.startswith(_SPOKEN_WITH_AN) else 'a'} {name}"


def _keyword_lines(key: str, entry: Mapping[str, Any], names: list[str]) -> list[str]:
    """Some keywords side by side, and others behind a name."""
    words = [word for word in map(_words, entry["keywords"]) if word]
    if len(words) < 2:
        return []
    words, tone = _shuffled(key, words), " and ".join(entry["skin_tones"])
    named = [with_article(_drawn(key, "name", names)), *words[-_KEYWORDS + 1 :]]
    return [", ".join(filter(None, [*words[:_KEYWORDS], tone])), ", ".join(named)]


def _words(text: str) -> str:
    for mark in "-_:,“”’!()":
        text = text.replace(mark, " " if mark in "-_" else "")
    return " ".join(text.lower().split())


def _shuffled(key: str, items: Any) -> list[str]:
    return sorted(items, key=lambda item: _number(f"{key}\n{item}"))


def _drawn(key: str, purpose: str, items: list[str]) -> str:
    return items[_number(f"{key}\n{purpose}") % len(items)]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
