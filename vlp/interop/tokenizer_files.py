"""The tokenizer of foreign weights: their own, one that is given, or CLIP's."""

import os
from pathlib import Path

from data_pipelines.tokens import Tokenizer, big_vision_tokenizer, clip_tokenizer
from vlp.interop.foreign import Foreign
from vlp.interop.hf.tokenizers import read_tokenizer

NONE = "none"
_CLIP_VOCABULARY = 49408
_SIGLIP_VOCABULARY, _SIGLIP_PAD = 32000, 1  # SigLIP pads with its end token


def find_tokenizer(
    foreign: Foreign, given: str | os.PathLike | None, *, source: Path
) -> Tokenizer | None:
    """The tokenizer to use; None where that was asked for.

    Args:
        foreign: the weights.
        given: "none", a `.model` file of SentencePiece, a folder that transformers reads a
            tokenizer from, or None for what the weights bring; weights of CLIP's vocabulary that
            bring nothing get CLIP's own tokenizer.
        source: where the weights are, for messages.

    Raises:
        ValueError: there is none, or its ids go beyond the model's vocabulary.
    """
    if given == NONE:
        return None
    text = foreign.kwargs["text"]
    tokenizer = foreign.tokenizer if given is None else _read(Path(given), text["vocab_size"])
    if tokenizer is None and given is None and text["vocab_size"] == _CLIP_VOCABULARY:
        tokenizer = clip_tokenizer()
    if tokenizer is None:
        hint = f" ({foreign.tokenizer_hint})" if foreign.tokenizer_hint and given is None else ""
        raise ValueError(
            f"a text tower needs a tokenizer, found no file of one in {given or source}{hint}; put "
            "tokenizer.json (or the like) there, give tokenizer=FILE, or do without: "
            'tokenizer="none"'
        )
    if tokenizer.vocab_size > text["vocab_size"]:
        raise ValueError(
            f"the tokenizer may have at most the model's {text['vocab_size']} tokens, "
            f"{tokenizer.name} has {tokenizer.vocab_size}; give the one of these weights by "
            "tokenizer=FILE"
        )
    return tokenizer


def _read(path: Path, vocab_size: int) -> Tokenizer | None:
    if path.is_dir():
        return read_tokenizer(path)
    if not path.is_file():
        raise ValueError(f"tokenizer must be a file or a folder, found nothing at {path}")
    if path.suffix == ".model":
        pad_id = _SIGLIP_PAD if vocab_size == _SIGLIP_VOCABULARY else None
        return big_vision_tokenizer(path.read_bytes(), name=path.stem, pad_id=pad_id)
    return read_tokenizer(path.parent)
