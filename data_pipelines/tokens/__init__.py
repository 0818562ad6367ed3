"""Tokenizers: captions to rows of ids, as each family of models was trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_pipelines.checks import check_choice
from data_pipelines.tokens.base import Tokenizer
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
    check_choice("a tokenizer's kind", kind, KINDS)
    try:
        return KINDS[kind](Path(path).read_bytes(), name=name, **settings)
    except TypeError as error:
        raise ValueError(
            f"the settings of a {kind} tokenizer must be its own, got {settings} ({error}); "
            "put back the card that was written with it"
        ) from error
