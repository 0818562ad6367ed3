"""What all tokenizers share: a file and settings that make them, and rows of one length."""

import abc
import functools
import hashlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

SIDES = ("right", "left")  # of padding


class Tokenizer(abc.ABC):
    """What turns captions into ids, and can be written beside a model and read again.

    `kind`, `name`, `settings` and the file that `save` writes make the same tokenizer with
    `open_tokenizer`; `sha256` is of the file and the settings. It pickles as these.

    Attributes:
      content: the bytes of the file.
      name: what reports call the tokenizer.
      vocab_size: ids from there on are nobody's: a model may have a larger vocabulary.
      begin_id: the token in front of every text; None for none.
    """

    kind: str
    vocab_size: int
    pad_id: int
    eos_id: int
    begin_id: int | None = None
    padding_side = "right"
    # Special tokens around every text.
    _special: int

    def __init__(self, content: bytes, name: str) -> None:
        self.content, self.name = bytes(content), name

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments that make this tokenizer from its file, as JSON values."""
        given = {key: getattr(self, key) for key in self._usual}
        return {key: value for key, value in given.items() if value != self._usual[key]}

    @functools.cached_property
    def _usual(self) -> dict[str, Any]:
        """The usual values of the settings: what does not differ from them changes no hash."""
        known = inspect.signature(type(self)).parameters.values()
        own = [each for each in known if each.kind is each.KEYWORD_ONLY and each.name != "name"]
        return {each.name: each.default for each in own}

    @functools.cached_property
    def sha256(self) -> str:
        """Of the file, and of the settings if there are any."""
        digest = hashlib.sha256(self.content)
        if self.settings:
            digest.update(json.dumps(self.settings, sort_keys=True, ensure_ascii=False).encode())
        return digest.hexdigest()

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Ids of each text, int32 `[n, length]`: a begin token if there is one, tokens, the end
        token, padding. A text that is too long loses its tail, never the end token.

        Raises:
          ValueError: `length` leaves no room for a token.
        """
        least = self._special + 1
        if length < least:
            raise ValueError(
                f"length must be at least {least} (a token and the special tokens), got {length}"
            )
        out = np.full((len(texts), length), self.pad_id, np.int32)
        for row, text in zip(out, texts, strict=True):
            ids = self._ids(text, length)
            start = 0 if self.padding_side == "right" else length - len(ids)
            row[start : start + len(ids)] = ids
        return out

    def decode(self, ids: np.ndarray) -> list[str]:
        """The text of each row in front of its end token; cleaning and unknown words are lost.

        Args:
          ids: rows of ids; those that are no token are left out.
        """
        return [self._text(self._words(row.tolist())).strip(" ") for row in ids]

    def save(self, path: str | Path) -> None:
        """Writes the file."""
        Path(path).write_bytes(self.content)

    @abc.abstractmethod
    def to_tokenizer_json(self, length: int) -> tokenizers.Tokenizer:
        """The same ids from the library `tokenizers` alone, or a ValueError that says why not."""

    @abc.abstractmethod
    def _ids(self, text: str, length: int) -> list[int]:
        """The ids of a text, `length` at most."""

    @abc.abstractmethod
    def _text(self, ids: list[int]) -> str:
        """The text of ids that stand for words."""

    def _words(self, ids: list[int]) -> list[int]:
        """The ids of a row that stand for words: what lies in front of the end token."""
        left_pad = self.pad_id if self.padding_side == "left" else None
        start = next((i for i, token in enumerate(ids) if token != left_pad), len(ids))
        end = ids.index(self.eos_id, start) if self.eos_id in ids[start:] else len(ids)
        found = ids[start:end]
        return [id_ for id_ in found if 0 <= id_ < self.vocab_size and id_ != self.begin_id]

    def __reduce__(self) -> tuple:
        # Worker processes read the file again instead of copying a library's memory.
        return functools.partial(type(self), self.content, name=self.name, **self.settings), ()


def of_length(
    made: tokenizers.Tokenizer, length: int, *, pad_id: int, side: str = "right"
) -> tokenizers.Tokenizer:
    """The pipeline with its rows cut and padded to one length."""
    made.enable_truncation(length)
    pad = made.id_to_token(pad_id)
    made.enable_padding(length=length, pad_id=pad_id, pad_token=pad, direction=side)
    return made
