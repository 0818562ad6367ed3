"""SigLIP's tokenizer, as `SiglipTokenizer` of transformers 5 applies a SentencePiece model.

References:
  Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023 (arXiv 2303.15343).
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import tokenizers

from data_pipelines.checks import check_choice
from data_pipelines.tokens.base import SIDES, Tokenizer
from data_pipelines.tokens.clean import without_punctuation
from data_pipelines.tokens.convert_siglip import convert_siglip
from data_pipelines.tokens.spiece import read_model

_SPACE = "\u2581"
_NONE: Mapping[str, Any] = MappingProxyType({})


class SiglipTokenizer(Tokenizer):
    """Canonical text to ids with a SentencePiece model; padded with the end token.

    Text loses its ASCII punctuation and becomes lower case; white space becomes single spaces. The
    literal name of a special token in a caption becomes that token, and where it is the end token
    at the very end, no other follows: both as in transformers.

    Args:
      model: the bytes of `spiece.model`.
      name: what reports call the tokenizer.
      lower: whether text becomes lower case.
      eos_token, pad_token, unk_token: pieces of the model.
      special_tokens: which pieces are found in text by their literal names, and whether each
        takes the white space on its left and on its right; the three above do unless they are here.
      added_tokens: ids of those of them that are no pieces of the model.
      padding_side: "right" or "left".

    Raises:
      ValueError: not a SentencePiece model, or one without these pieces.
    """

    kind = "siglip"
    _special = 1

    def __init__(
        self,
        model: bytes,
        *,
        name: str = "siglip",
        lower: bool = True,
        eos_token: str = "</s>",
        pad_token: str = "</s>",
        unk_token: str = "<unk>",
        special_tokens: Mapping[str, Sequence[bool]] = _NONE,
        added_tokens: Mapping[str, int] = _NONE,
        padding_side: str = "right",
    ) -> None:
        super().__init__(model, name)
        check_choice("padding_side", padding_side, SIDES)
        self._processor = read_model(self.content, name)
        self.added_tokens = dict(added_tokens)
        self._pieces: int = self._processor.vocab_size()
        self.vocab_size = max([self._pieces, *(n + 1 for n in self.added_tokens.values())])
        self.lower, self.padding_side = lower, padding_side
        self.eos_token, self.pad_token, self.unk_token = eos_token, pad_token, unk_token
        named = dict.fromkeys((eos_token, unk_token, pad_token), [True, True])
        given = {token: list(takes) for token, takes in special_tokens.items()}
        self.special_tokens = {t: takes for t, takes in given.items() if named.get(t) != takes}
        self.literal_tokens = named | given
        self._named = {token: self.token_id(token) for token in self.literal_tokens}
        self.eos_id, self.pad_id = self._named[eos_token], self._named[pad_token]
        longest_first = sorted(self._named, key=len, reverse=True)
        self._literal = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        self._space: int = self._processor.piece_to_id(_SPACE)
        # Text is encoded behind the name of the unknown token, whose pieces are dropped again:
        # thus it keeps its leading space.
        self._prefix = len(self._processor.encode(unk_token))

    def to_tokenizer_json(self, length: int) -> tokenizers.Tokenizer:
        """The ids of rows of `length` from the library `tokenizers` alone.

        They may differ for captions with the literal name of a special token, see `names_special`.

        Raises:
          ValueError: the model is of a kind whose ids could not be reproduced, or has tokens added.
        """
        if self.added_tokens:
            raise ValueError(
                f"a tokenizer.json must be made of pieces alone, {self.name} has "
                f"{', '.join(self.added_tokens)} besides; export the weights without a tokenizer"
            )
        return convert_siglip(self, length)

    def names_special(self, text: str) -> bool:
        """Whether the literal name of a special token stands in a text."""
        return self._literal.search(text) is not None

    def token_id(self, token: str) -> int:
        """The id of a piece.

        Raises:
          ValueError: there is no such piece.
        """
        if token in self.added_tokens:
            return self.added_tokens[token]
        found: int = self._processor.piece_to_id(token)
        if self._processor.id_to_piece(found) != token:
            raise ValueError(
                f"the SentencePiece model of {self.name} must have the piece {token!r}, its "
                f"{self._pieces} pieces do not; give the name that it has"
            )
        return found

    def canonical(self, text: str) -> str:
        """Without ASCII punctuation, in lower case, with single spaces."""
        text = without_punctuation(text.lower() if self.lower else text)
        return re.sub(r"\s+", " ", text).strip()

    def _ids(self, text: str, length: int) -> list[int]:
        parts = self._parts(_SPACE + text.replace(_SPACE, " "))
        found = [self._part(part) for part in parts]
        if len(parts) > 1 and parts[1] in self._named and found[0] == [self._space]:
            found = found[1:]  # a lone space before a special token is none
        cut = [token for ids in found for token in ids][: length - 1]
        return cut if cut[-1:] == [self.eos_id] else [*cut, self.eos_id]

    def _text(self, ids: list[int]) -> str:
        # A token that was added is no piece.
        return self._processor.decode([token for token in ids if token < self._pieces])

    def _parts(self, text: str) -> list[str]:
        """The text, cut at the literal names of special tokens."""
        parts = self._literal.split(text)  # text, name, text, ..., name, text
        for place in range(1, len(parts), 2):
            left, right = self.literal_tokens[parts[place]]
            parts[place - 1] = parts[place - 1].rstrip() if left else parts[place - 1]
            parts[place + 1] = parts[place + 1].lstrip() if right else parts[place + 1]
        return [part for part in parts if part]

    def _part(self, part: str) -> list[int]:
        if part in self._named:
            return [self._named[part]]
        ids = self._processor.encode(self.unk_token + self.canonical(part))
        return ids[self._prefix :] if len(ids) >= self._prefix else ids
