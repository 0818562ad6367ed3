"""A SentencePiece unigram model as a `tokenizer.json` that gives the same ids, byte for byte.

The library `tokenizers` reads text by other rules than SentencePiece in five places, and each is
put right here rather than hoped away:

- Normalisation: its reading of SentencePiece's rules takes the shortest match and whole grapheme
  clusters, which loses accents and marks. Here Unicode's NFKC does the composing and the few rules
  that SentencePiece adds are spelled out.
- White space: its Metaspace adds no leading mark to a text that begins with one.
- Control pieces: it would find a caption's literal "</s>" among the pieces. Here their names hold a
  space, which no normalised text does.
- Byte pieces: likewise for a literal "<0x41>"; a cut behind "<" keeps them apart.
- Truncation: the end-of-text token is kept, as in training.
"""

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

PAD, EOS, UNK = "<pad token>", "<end of text>", "<unknown piece>"
_SPACE = "\u2581"  # SentencePiece's visible space
_LITERAL_BYTE = r"<(?=0x[0-9A-F]{2}>)"


def convert_sentencepiece(model: bytes, *, length: int) -> tokenizers.Tokenizer:
    """The tokenizer of a SentencePiece unigram model: text -> `length` ids, eos kept, padded right.

    Args:
        model: The bytes of the `.model` file.
        length: Tokens in a row, eos included.

    Raises:
        ValueError: The model is of a kind whose ids could not be reproduced.
    """
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    _check(proto)
    ids = {kind: _only_piece(proto, kind) for kind in ("CONTROL", "UNKNOWN")}
    del ids
    raise NotImplementedError
