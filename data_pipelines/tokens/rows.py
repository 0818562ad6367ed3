"""What all tokenizers share: rows of one length, and a hash of all that decides about ids."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

SIDES = ("right", "left")


def rows(
    ids: Iterable[Sequence[int]], *, n: int, length: int, pad_id: int, side: str = "right"
) -> np.ndarray:
    """Sequences, none longer than `length`, as int32 `[n, length]` with padding on one side."""
    out = np.full((n, length), pad_id, np.int32)
    for row, sequence in zip(out, ids, strict=True):
        start = 0 if side == "right" else length - len(sequence)
        row[start : start + len(sequence)] = sequence
    return out


def words(
    row: np.ndarray, *, eos_id: int, vocab_size: int, begin_id: int | None, left_pad: int | None
) -> list[int]:
    """The ids of a row that stand for words: what lies in front of the end token.

    Args:
      row: ids, with or without an end.
      eos_id: the end token.
      vocab_size: ids from there on are nobody's: a model may have a larger vocabulary.
      begin_id: left out; None for none.
      left_pad: what fills rows in front; None where padding lies behind.
    """
    ids = row.tolist()
    start = next((i for i, token in enumerate(ids) if token != left_pad), len(ids))
    end = ids.index(eos_id, start) if eos_id in ids[start:] else len(ids)
    return [token for token in ids[start:end] if 0 <= token < vocab_size and token != begin_id]


def check_length(length: int, least: int = 2) -> None:
    """Refuses rows without room for a token.

    Raises:
      ValueError: `length` is below `least`.
    """
    if length < least:
        raise ValueError(
            f"length must be at least {least} (a token and the special tokens), got {length}"
        )


def check_side(side: str) -> None:
    """Refuses a side that is neither left nor right.

    Raises:
      ValueError: names the known ones.
    """
    if side not in SIDES:
        raise ValueError(f"padding_side must be one of {', '.join(SIDES)}; got {side!r}")


def fingerprint(content: bytes, settings: Mapping[str, Any]) -> str:
    """SHA-256 of a tokenizer: of its file, and of the settings if there are any."""
    digest = hashlib.sha256(content)
    if settings:
        digest.update(json.dumps(settings, sort_keys=True, ensure_ascii=False).encode())
    return digest.hexdigest()


def changed(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that differ from their defaults, so that new options change no old hash."""
    return {key: value for key, value in settings.items() if value != defaults[key]}
