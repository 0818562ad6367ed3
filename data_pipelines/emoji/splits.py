"""Which emoji are kept from training, to see whether a model composes what it knows.

An emoji with one skin tone is a person and a tone: `(base, tone)`. About 5 % of these pairs are
held out, at most one tone a base, so that the base occurs in training with other tones, the tone
with other bases, and the pair nowhere. Bases that are also drawn with two tones (handshakes,
couples) are left alone: there a held-out tone would return beside another one. What the standard
names on its own is a person of its own: "woman running" is another than "person running", and
"woman running facing right" a third.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

TRAIN, COMPOSITIONAL = "train", "compositional"
# Of 256. One pair of five in a base that is chosen.
_CHOSEN_BASES = 68


def splits(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The split of each emoji, `TRAIN` or `COMPOSITIONAL`; a function of code points alone.

    Args:
      entries: all emoji, with `base` and `skin_tones`.
    """
    single: dict[str, list[str]] = {}
    mixed = set()
    for entry in entries:
        tones = entry["skin_tones"]
        if len(tones) == 1:
            single.setdefault(entry["base"], []).append(tones[0])
        elif tones:
            mixed.add(entry["base"])
    held = {
        (base, _held_tone(base, tones))
        for base, tones in single.items()
        if base not in mixed and len(tones) > 1
    }
    return [
        COMPOSITIONAL if (entry["base"], *entry["skin_tones"]) in held else TRAIN
        for entry in entries
    ]


def _held_tone(base: str, tones: Sequence[str]) -> str | None:
    digest = hashlib.sha256(base.encode()).digest()
    if digest[0] >= _CHOSEN_BASES:
        return None
    return sorted(tones)[digest[1] % len(tones)]
