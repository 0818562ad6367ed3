"""Common names and keywords of emoji, from the annotations of Unicode's CLDR.

The files are `annotations/en/annotations.json` and `annotationsDerived/en/annotations.json` of the
packages cldr-annotations-full and cldr-annotations-derived-full
(https://github.com/unicode-org/cldr-json, Unicode License V3).
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_VARIATION = "\ufe0f"
Annotations = Mapping[str, Mapping[str, list[str]]]


def read_annotations(paths: Iterable[str | Path]) -> dict[str, Any]:
    """The annotations in CLDR's JSON files, by emoji: `tts` holds its name, `default` keywords."""
    found: dict[str, Any] = {}
    for path in paths:
        (content,) = json.loads(Path(path).read_text(encoding="utf-8")).values()
        found |= content["annotations"]
    return found


def annotated(entry: Mapping[str, Any], annotations: Annotations) -> dict[str, Any]:
    """The entry with `common_name` and `keywords`, both in lower case and without skin tones.

    Raises:
      ValueError: the annotations do not know the emoji.
    """
    text = "".join(chr(int(code, 16)) for code in entry["unified"].split("-"))
    own = annotations.get(text) or annotations.get(text.replace(_VARIATION, ""))
    if own is None:
        raise ValueError(
            f"every emoji needs an annotation, {entry['unified']} ({entry['name']}) has none; "
            "take CLDR's files of this or a later Unicode version"
        )
    name = own["tts"][0].lower().replace("flag: ", "flag of ")
    for tone in entry["skin_tones"]:
        name = name.replace(f": {tone}", "").replace(f", {tone}", "")
    keywords = [word.lower() for word in own["default"]]
    return {
        **entry,
        "common_name": name,
        "keywords": [word for word in keywords if word not in entry["skin_tones"]],
    }
