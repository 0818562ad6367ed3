"""Tokenizers: captions to rows of ids, as each family of models was trained."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tokenizers

from data_pipelines.tokens.bert import bert_tokenizer, read_vocabulary
from data_pipelines.tokens.clip import ClipTokenizer, clip_tokenizer, hf_clip_tokenizer
from data_pipelines.tokens.gemma import gemma_tokenizer
from data_pipelines.tokens.pipeline import PipelineTokenizer
from data_pipelines.tokens.siglip import SiglipTokenizer
from data_pipelines.tokens.spiece import SentencePieceTokenizer, big_vision_tokenizer
from data_pipelines.tokens.t5 import t5_tokenizer

__all__ = [
    "KINDS",
    "ClipTokenizer",
    "PipelineTokenizer",
    "SentencePieceTokenizer",
    "SiglipTokenizer",
    "Tokenizer",
    "bert_tokenizer",
    "big_vision_tokenizer",
    "clip_tokenizer",
    "gemma_tokenizer",
    "hf_clip_tokenizer",
    "open_tokenizer",
    "read_vocabulary",
    "t5_tokenizer",
]


@runtime_checkable
class Tokenizer(Protocol):
    """What turns captions into ids, and can be written beside a model and read again.

    `kind`, `name`, `settings` and the file that `save` writes make the same tokenizer with
    `open_tokenizer`; `sha256` is of the file and the settings.
    """

    kind: str
    name: str
    vocab_size: int
    pad_id: int
    eos_id: int

    @property
    def sha256(self) -> str: ...

    @property
    def settings(self) -> dict[str, Any]:
        """What else than its file makes the tokenizer, as JSON values."""
        ...

    @property
    def begin_id(self) -> int | None:
        """The token in front of every text; None where texts begin with their first word."""
        ...

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Ids int32 `[n, length]`: tokens, the end token, padding; a cut text keeps the end."""
        ...

    def decode(self, ids: np.ndarray) -> list[str]:
        """The text of each row in front of its end token; cleaning and unknown words are lost."""
        ...

    def save(self, path: str | Path) -> None:
        """Writes the file."""
        ...

    def to_tokenizer_json(self, length: int) -> tokenizers.Tokenizer:
        """The same ids from the library `tokenizers` alone, or a ValueError that says why not."""
        ...


KINDS: dict[str, Callable[..., Tokenizer]] = {
    "sentencepiece": SentencePieceTokenizer,
    "siglip": SiglipTokenizer,
    "clip": ClipTokenizer,
    "tokenizers": PipelineTokenizer,
}


def open_tokenizer(kind: str, path: str | Path, *, name: str, **settings: Any) -> Tokenizer:
    """The tokenizer that wrote the file at `path`.

    Args:
      kind: its `kind`.
      path: what its `save` wrote.
      name: its `name`.
      settings: its `settings`.

    Raises:
      ValueError: an unknown kind, no file of that kind, or unknown settings.
    """
    if kind not in KINDS:
        raise ValueError(f"a tokenizer's kind must be one of {', '.join(KINDS)}; got {kind!r}")
    try:
        return KINDS[kind](Path(path).read_bytes(), name=name, **settings)
    except TypeError as error:
        raise ValueError(
            f"the settings of a {kind} tokenizer must be its own, got {settings} ({error}); "
            "put back the card that was written with it"
        ) from error
