"""The card: what one must know, beside the weights, to use a model; JSON in a run's folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from vlp.files import write_text
from vlp.interop.weights import read_json_object
from vlp.remote import place
from vlp.version import __version__

FORMAT = 1
FILE = "card.json"

# Every field a reader relies on, and its type.
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "vlp": str,
    "model": dict,
    "model.image": (dict, NoneType),
    "model.text": (dict, NoneType),
    "model.embed_dim": int,
    "preprocess": (dict, NoneType),
    "tokenizer": (dict, NoneType),
    "objective": str,
    "licence": str,
    "attribution": str,
}
_TOKENIZER_FIELDS: dict[str, type | tuple[type, ...]] = {
    "tokenizer.kind": str,
    "tokenizer.file": str,
    "tokenizer.name": str,
    "tokenizer.sha256": str,
    "tokenizer.length": int,
}
# What a tokenizer's file is called beside a card, by its kind.
TOKENIZER_FILES = {
    "sentencepiece": "tokenizer.model",
    "siglip": "tokenizer.model",
    "clip": "merges.txt",
    "tokenizers": "tokenizer.json",
}


def build_card(
    *,
    model: Mapping[str, Any],
    preprocess: Mapping[str, Any] | None,
    tokenizer: Any,
    text_length: int,
    objective: str,
    licence: str = "unknown",
    attribution: str = "",
    weights: str | None = None,
) -> dict[str, Any]:
    """The card of a model, checked.

    Args:
        model: Keyword arguments of `DualEncoder` (JSON values only), without `rngs`.
        preprocess: `to_dict()` of the evaluation preprocessing; None without an image tower.
        tokenizer: a `data_pipelines.tokens.Tokenizer`; None where texts are not to be read.
        text_length: Tokens in a row of the model's text input, eos included.
        objective: what the model was trained by, such as "clip".
        licence: Licence of the weights, or of the data they were trained on.
        attribution: Lines that name whose work the weights were made from.
        weights: which of a run's weights were judged, and are loaded: "params" or "ema".

    Raises:
        ValueError: A field is missing, of the wrong type, or not JSON.
    """
    return validate_card(
        {
            "format": FORMAT,
            "vlp": __version__,
            "model": dict(model),
            "preprocess": None if preprocess is None else dict(preprocess),
            "tokenizer": None if tokenizer is None else _tokenizer_entry(tokenizer, text_length),
            "objective": objective,
            "licence": licence,
            "attribution": attribution,
            **({"weights": weights} if weights else {}),
        }
    )


def validate_card(card: Any, *, source: str = "the card") -> dict[str, Any]:
    """`card` as JSON would return it, if every field is there and well-formed.

    Raises:
        ValueError: Names the field, what was found and what to do.
    """
    if not isinstance(card, Mapping):
        raise ValueError(
            f"{source} must be a JSON object, got {type(card).__name__}; is this a card?"
        )
    if card.get("format") != FORMAT:
        raise ValueError(
            f"{source} must have format {FORMAT}, got {card.get('format')!r}; "
            f"read it with the vlp that wrote it ({card.get('vlp', 'unknown')}), or update vlp"
        )
    fields = _FIELDS if card.get("tokenizer") is None else _FIELDS | _TOKENIZER_FIELDS
    for field, kind in fields.items():
        _check_field(card, field, kind, source)
    file = Path((card["tokenizer"] or {"file": ""})["file"])
    if file.is_absolute() or ".." in file.parts:
        raise ValueError(
            f"{source}: tokenizer.file must lie inside the run's folder, got {str(file)!r}; "
            "copy the tokenizer beside the card"
        )
    return json.loads(_dump(card))


def write_card(card: Mapping[str, Any], folder: str | os.PathLike) -> Path:
    """Writes `card` as `folder`/card.json in one step (a reader sees all of it or none)."""
    path = Path(folder) / FILE
    write_text(path, _dump(validate_card(card)) + "\n")
    return path


def read_card(folder: str | os.PathLike) -> dict[str, Any]:
    """The checked card of a run's folder.

    Raises:
        ValueError: No card there, or not a valid one.
    """
    path = place(folder) / FILE
    if not path.is_file():
        raise ValueError(
            f"a run's folder must hold {FILE}, found none in {folder}; "
            "give the workdir of `vlp train` or one of its checkpoints"
        )
    return validate_card(read_json_object(path), source=str(path))


def check_tokenizer(card: Mapping[str, Any], tokenizer: Any) -> None:
    """Refuses a tokenizer other than the one the model was trained with.

    Raises:
        ValueError: The hashes differ: the model would read other words than were written.
    """
    expected = card["tokenizer"]["sha256"]
    if tokenizer.sha256 != expected:
        raise ValueError(
            f"the tokenizer's sha256 must be the card's {expected[:16]}…, got "
            f"{tokenizer.sha256[:16]}…; put back the {card['tokenizer']['file']} of this run"
        )


def _tokenizer_entry(tokenizer: Any, length: int) -> dict[str, Any]:
    return {
        "kind": tokenizer.kind,
        "file": TOKENIZER_FILES[tokenizer.kind],
        "name": tokenizer.name,
        "sha256": tokenizer.sha256,
        "length": length,
        "settings": tokenizer.settings,
    }


def _check_field(card: Mapping[str, Any], field: str, kind: Any, source: str) -> None:
    value: Any = card
    for name in field.split("."):
        if name not in value:
            raise ValueError(
                f"{source} must have the field {field!r}, found {sorted(value)}; "
                "write it with vlp.interop.card.build_card"
            )
        value = value[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(
            f"{source}: {field} must be {_named(kind)}, got {value!r}; "
            "write it with vlp.interop.card.build_card"
        )


def _named(kind: Any) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join("null" if k is NoneType else k.__name__ for k in kinds)


def _dump(card: Mapping[str, Any]) -> str:
    try:
        return json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a card holds JSON values only, got {error}; give plain numbers, strings, lists, dicts"
        ) from error
