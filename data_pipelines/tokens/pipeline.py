"""A tokenizer that is a `tokenizer.json`: any pipeline of the library `tokenizers`."""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import tokenizers

from data_pipelines.checks import check_choice
from data_pipelines.tokens.base import SIDES, Tokenizer, of_length
from data_pipelines.tokens.clean import cleaning

# Post-processors with fixed places: the special tokens that they put behind the text.
_ENDINGS = {"RobertaProcessing": 1, "BertProcessing": 1}


class PipelineTokenizer(Tokenizer):
    """Text to ids with the content of a `tokenizer.json`.

    The literal name of a special token in a text becomes that token, as it does in transformers,
    unless `plain_special` says that it is plain text.

    Args:
      content: the bytes of the file; its truncation and padding are ignored.
      pad_id: what fills a row.
      eos_id: the token that ends a text.
      name: what reports call the tokenizer.
      clean: what is done to a text first, see `data_pipelines.tokens.clean`.
      padding_side: "right", or "left" of the text.
      plain_special: whether the literal name of a special token is plain text.

    Raises:
      ValueError: not such a file, an id that is not in it, or an unknown cleaning or side.
    """

    kind = "tokenizers"

    def __init__(
        self,
        content: bytes,
        *,
        pad_id: int,
        eos_id: int,
        name: str = "tokenizer",
        clean: str = "none",
        padding_side: str = "right",
        plain_special: bool = False,
    ) -> None:
        super().__init__(content, name)
        check_choice("padding_side", padding_side, SIDES)
        self._clean = cleaning(clean)
        self._tokenizer = _read(self.content, name)
        self._tokenizer.encode_special_tokens = plain_special
        self.vocab_size = self._tokenizer.get_vocab_size()
        self.pad_id, self.eos_id = pad_id, eos_id
        self.clean, self.padding_side, self.plain_special = clean, padding_side, plain_special
        for role, token in (("pad_id", pad_id), ("eos_id", eos_id)):
            if self._tokenizer.id_to_token(token) is None:
                raise ValueError(
                    f"{role} must be an id of {name}, whose {self.vocab_size} tokens do not "
                    f"include {token}; give the id of a token in the file"
                )
        self._special = self._tokenizer.num_special_tokens_to_add(False)
        processor = self._tokenizer.post_processor
        self._ending = _ending(json.loads(processor.__getstate__())) if processor else 0
        first = self._tokenizer.encode("").ids[: self._special - self._ending]
        self.begin_id = first[0] if first else None
        self._end_of_word = self.pipeline["model"].get("end_of_word_suffix") or ""

    @classmethod
    def of(
        cls, made: tokenizers.Tokenizer, name: str, pad: str, eos: str, *, padding_side: str
    ) -> "PipelineTokenizer":
        """The tokenizer of a pipeline in which `pad` fills a row and `eos` ends a text."""
        ids: Any = dict(pad_id=made.token_to_id(pad), eos_id=made.token_to_id(eos))
        return cls(made.to_str().encode(), name=name, padding_side=padding_side, **ids)

    @property
    def pipeline(self) -> dict[str, Any]:
        """What the file says, as this version of the library writes it: equal for equal ids."""
        return json.loads(self._tokenizer.to_str())

    def to_tokenizer_json(self, length: int) -> tokenizers.Tokenizer:
        """The same ids from the library alone: rows of `length`, cut and padded.

        The file cannot hold `plain_special`: set `encode_special_tokens` where it is read.

        Raises:
          ValueError: the cleaning before the file cannot be expressed in it.
        """
        if self.clean != "none":
            raise ValueError(
                f"a tokenizer.json must hold all that is done to a text, and the cleaning "
                f"{self.clean!r} of {self.name} cannot be expressed in one; export it for a "
                "stack that cleans by itself"
            )
        made = _read(self.content, self.name)
        made.encode_special_tokens = self.plain_special
        return of_length(made, length, pad_id=self.pad_id, side=self.padding_side)

    def _ids(self, text: str, length: int) -> list[int]:
        # One text at a time: in a batch the library would use every core, and the loader decides.
        ids = self._tokenizer.encode(self._clean(text)).ids
        if len(ids) <= length:
            return ids
        return ids[: length - self._ending] + ids[len(ids) - self._ending :]

    def _text(self, ids: list[int]) -> str:
        text = self._tokenizer.decode(ids)
        # What CLIP's decoder leaves of its own.
        return text.replace(self._end_of_word, " ") if self._end_of_word else text


def special_tokens(
    *names: str, given: Sequence[tokenizers.AddedToken] = ()
) -> list[tokenizers.AddedToken]:
    """Tokens that are found in a text by their literal names, before it is normalised.

    Args:
      names: the names.
      given: tokens that come first, as they are; a name among them is not made again.
    """
    known = {token.content for token in given}
    missing = dict.fromkeys(name for name in names if name not in known)
    made = [tokenizers.AddedToken(name, special=True, normalized=False) for name in missing]
    return [*given, *made]


def check_vocabulary(vocabulary: Container[str], wanted: Iterable[str], *, name: str) -> None:
    """Refuses a vocabulary without the special tokens that a family needs.

    Raises:
      ValueError: names what is missing.
    """
    missing = sorted({token for token in wanted if token not in vocabulary})
    if missing:
        raise ValueError(
            f"the vocabulary of {name} must have {', '.join(missing)}, and has not; is it the "
            "vocabulary of such a tokenizer? If so, give the names that it uses"
        )


def _read(content: bytes, name: str) -> tokenizers.Tokenizer:
    try:
        made = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
    except Exception as error:  # the library raises plain Exception for whatever is wrong
        raise ValueError(
            f"{name} must be a tokenizer.json, got {len(content)} bytes that are none ({error})"
        ) from error
    made.no_truncation()
    made.no_padding()
    return made


def _ending(processor: Mapping[str, Any]) -> int:
    """How many special tokens a post-processor puts behind a text."""
    if processor["type"] == "Sequence":
        return sum(_ending(part) for part in processor["processors"])
    if processor["type"] == "TemplateProcessing":
        parts = processor["single"]
        last = max(i for i, part in enumerate(parts) if "Sequence" in part)
        return len(parts) - 1 - last
    return _ENDINGS.get(processor["type"], 0)
