"""Captions that tokenizers are likely to disagree on: seeded, multilingual, and unpleasant."""

import random
import unicodedata

# Samples of scripts that normalise, order or split differently.
SCRIPTS = (
    "A photo of a cat sitting on the WINDOW sill",
    "Ein Straßenfest in Köln, größer als früher",
    "Ça déjà vu, l'été à Orléans",
    "Ο ΟΔΥΣΣΕΑΣ και η θάλασσα",
    "Быстрая коричневая лиса. ЁЖИК",
    "İstanbul'da ıslak ŞİİR",
    "東京の夜景、雨の中の人々。ｶﾞｷﾞｸﾞ",
    "一只可爱的小猫坐在红色的椅子上",
    "서울의 가을 하늘 가각힣",
    "مَرْحَبًا بِالعَالَم ﷺ",
    "שָׁלוֹם עוֹלָם",
    "नमस्ते दुनिया क्षत्रिय",
    "สวัสดีชาวโลก",
    "xin chào Việt Nam ế ộ ữ",
    "გამარჯობა ᲒᲐᲛᲐᲠᲯᲝᲑᲐ",
)
PIECES = (
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f9d1\U0001f3fd\u200d\U0001f680",
    "\u263a\ufe0e",
    "\u2764\ufe0f",
    "\U0001f1eb\U0001f1f7",
    "ﬁ",
    "ﬃ",
    "ﬅ",
    "ǆ",
    "ŉ",
    "ſ",
    "K",
    "½",
    "①",
    "㎏",
    "𝒜",
    "&amp;",
    "&amp;lt;",
    "&lt;b&gt;",
    "&#39;",
    "&nbsp;",
    "&copy",
    "e\u0301",
    "E\u0301",
    "I\u0307",
    "a\u0323\u0302",
    "\u0301",
    "\x00",
    "\x01",
    "\x1c",
    "\x7f",
    "\x85",
    "\t",
    "\n",
    "\r\n",
    "\u00a0",
    "\u2003",
    "\u2028",
    "\u200b",
    "\ufeff",
    "\u202e",
    "\ufffd",
    "Ã©",
    "â€™",
    "‘quote’ “double”",
    "http://example.org/a?b=1&c=%20#d",
    "user@example.org",
    "#hash_tag",
    "2,048.50",
    "1234567890",
    "don't",
    "WE'RE",
    "I'LL",
    "'s",
    "''S",
    "!!!???",
    "...",
    "--",
    "a_b",
    "{}",
    "\\n",
    "▁",
    "▁▁a",
    "##ing",
    "<0x41>",
    "lower UPPER",
    "   ",
)
SPECIAL = (
    "<|startoftext|>",
    "<|endoftext|>",
    "<|ENDOFTEXT|>",
    "<start_of_text>",
    "<end_of_text>",
    "<END_OF_TEXT>",
    "</s>",
    "<s>",
    "<unk>",
    "<pad>",
    "<bos>",
    "<eos>",
    "<mask>",
    "[SEP]",
    "[CLS]",
    "[PAD]",
    "[UNK]",
    "[sep]",
)
FIXED = ("", " ", "\t\n", "\u3000", "a" * 400, "word " * 300, "é" * 200, "\U0001f9ff" * 90)


def captions(count: int, *, seed: int = 0, special: bool = True) -> list[str]:
    """The fixed ones, each script, and mixtures of all of it up to `count`.

    Args:
      count: how many.
      seed: of the mixtures.
      special: whether the names of special tokens occur in them.
    """
    rng = random.Random(seed)
    words = [word for line in SCRIPTS for word in line.split()]
    kinds = [lambda: rng.choice(words), lambda: rng.choice(PIECES), lambda: _letter(rng)]
    weights = [6, 4, 2]
    if special:
        kinds.append(lambda: rng.choice(SPECIAL))
        weights.append(2)
    lines = [*FIXED, *SCRIPTS, *PIECES, *(SPECIAL if special else ())]
    while len(lines) < count:
        parts = [rng.choices(kinds, weights)[0]() for _ in range(rng.randint(1, 14))]
        lines.append("".join(part + rng.choice(("", " ", " ")) for part in parts))
    return lines[:count]


def _letter(rng: random.Random) -> str:
    """A character of any script that this Python's Unicode knows."""
    while True:
        letter = chr(rng.randrange(0x20, 0x32000))
        if unicodedata.category(letter) not in ("Cs", "Cn", "Co"):
            return letter
