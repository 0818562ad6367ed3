"""SentencePiece models as they are: our own, and those of big_vision.

References:
  Kudo and Richardson, "SentencePiece", 2018 (arXiv 1808.06226).
"""

from pathlib import Path

import sentencepiece
import tokenizers

from data_pipelines.tokens.base import Tokenizer
from data_pipelines.tokens.clean import cleaning
from data_pipelines.tokens.convert import convert_sentencepiece


class SentencePieceTokenizer(Tokenizer):
    """Text to ids with a SentencePiece model.

    Args:
      model: the bytes of a `.model` file.
      name: what reports call the tokenizer.
      clean: what is done to a text first, see `data_pipelines.tokens.clean`.
      pad_id: what fills a row; the model's own unless given.
      begin: whether each row starts with the model's begin token, from which captions can be
        written.

    Raises:
      ValueError: the bytes are no SentencePiece model, it has no pad or end token (or begin token,
        where that is asked for), or an unknown cleaning.
    """

    kind = "sentencepiece"

    def __init__(
        self,
        model: bytes,
        *,
        name: str = "sentencepiece",
        clean: str = "none",
        pad_id: int | None = None,
        begin: bool = False,
    ) -> None:
        super().__init__(model, name)
        self._clean = cleaning(clean)
        self.clean, self.begin = clean, begin
        self.model = self.content
        self._processor = read_model(self.model, name)
        self.vocab_size = self._processor.vocab_size()
        own_pad = self._processor.pad_id()
        self._usual = {"clean": "none", "pad_id": own_pad, "begin": False}
        self.pad_id = own_pad if pad_id is None else pad_id
        self.eos_id = self._processor.eos_id()
        if min(self.pad_id, self.eos_id) < 0:
            raise ValueError(
                f"a tokenizer needs a pad and an end token, {name} has pad_id={self.pad_id} and "
                f"eos_id={self.eos_id}; train one with train_sentencepiece"
            )
        if begin and self._processor.bos_id() < 0:
            raise ValueError(
                f"begin=True needs a model with a begin token, {name} has none; train one with "
                "train_sentencepiece(begin=True), or leave begin out"
            )
        self.begin_id = self._processor.bos_id() if begin else None
        self._first = [] if self.begin_id is None else [self.begin_id]
        self._special = 1 + len(self._first)

    @classmethod
    def load(
        cls, path: str | Path, *, name: str | None = None, begin: bool = False
    ) -> "SentencePieceTokenizer":
        """Reads a `.model` file; the name is the file's stem unless given."""
        return cls(Path(path).read_bytes(), name=name or Path(path).stem, begin=begin)

    def to_tokenizer_json(self, length: int) -> tokenizers.Tokenizer:
        """The ids of rows of `length` from the library `tokenizers` alone.

        Raises:
          ValueError: the model or the cleaning is of a kind whose ids could not be reproduced.
        """
        return convert_sentencepiece(
            self.model, length=length, pad_id=self.pad_id, clean=self.clean, begin=self.begin
        )

    def _ids(self, text: str, length: int) -> list[int]:
        # One by one: a list, even of one, is given to new threads, which takes 50 times the time.
        ids = self._processor.encode(self._clean(text), out_type=int)
        return [*self._first, *ids[: length - self._special], self.eos_id]

    def _text(self, ids: list[int]) -> str:
        return self._processor.decode(ids)


def big_vision_tokenizer(
    model: bytes, *, name: str = "big_vision", pad_id: int | None = None
) -> SentencePieceTokenizer:
    """Ids as big_vision's contrastive configs give them: ASCII in lower case, a sticky end token.

    Args:
      model: its SentencePiece model: c4_en and mc4 for SigLIP, Gemma's for SigLIP 2.
      name: what reports call the tokenizer.
      pad_id: 1 for SigLIP, whose configs pad with the end token; the model's own unless given.

    References:
      https://github.com/google-research/big_vision: pp/ops_text.py, `tokenize` and `lower`.
    """
    return SentencePieceTokenizer(model, name=name, clean="ascii_lower", pad_id=pad_id)


def read_model(model: bytes, name: str) -> sentencepiece.SentencePieceProcessor:
    """The library's reading of a model.

    Raises:
      ValueError: the bytes are none.
    """
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise ValueError(
            f"{name} must be a SentencePiece .model file, got {len(model)} bytes that are not one"
        ) from error
