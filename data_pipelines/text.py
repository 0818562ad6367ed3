"""Captions: cleaning with limits, and training a SentencePiece tokenizer on them.

References:
  Kudo and Richardson, "SentencePiece", 2018 (arXiv 1808.06226); Kudo, "Subword regularization",
  2018 (arXiv 1804.10959) for the unigram model.
"""

import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator

import sentencepiece

from data_pipelines.faults import Reject
from data_pipelines.limits import LIMITS
from data_pipelines.tokens import SentencePieceTokenizer, Tokenizer

__all__ = [
    "BEGIN_ID",
    "EOS_ID",
    "PAD_ID",
    "UNK_ID",
    "SentencePieceTokenizer",
    "Tokenizer",
    "clean_caption",
    "train_sentencepiece",
]

# The ids of special tokens in models that `train_sentencepiece` makes.
PAD_ID, EOS_ID, UNK_ID = 0, 1, 2
BEGIN_ID = 3  # only where it is asked for
_BOM = "\ufeff"
# 256 byte pieces, pad, eos and unk come first; a model needs room for some characters as well.
_SMALLEST_VOCABULARY = 300


def clean_caption(caption: str | bytes, *, max_bytes: int = LIMITS.caption_bytes) -> str:
    """The caption as text with single spaces.

    Args:
      caption: text, or bytes that should be UTF-8 (a byte order mark is dropped).
      max_bytes: longest accepted caption, in bytes.

    Raises:
      Reject: too long, not UTF-8 (lone surrogates included), with NUL, or nothing but blanks.
    """
    if len(caption) > max_bytes:
        raise Reject("caption too long", f"{len(caption)} > {max_bytes} bytes")
    try:
        raw = caption if isinstance(caption, bytes) else caption.encode("utf-8")
        text = raw.decode("utf-8")
    except UnicodeError as error:
        raise Reject("caption not utf-8", str(error)) from error
    if len(raw) > max_bytes:
        raise Reject("caption too long", f"{len(raw)} > {max_bytes} bytes")
    if "\0" in text:
        raise Reject(
            "caption with NUL (utf-16?)", "no text holds it, but UTF-16 read as UTF-8 does"
        )
    text = " ".join(text.removeprefix(_BOM).split())
    if not text:
        raise Reject("caption empty")
    return text


def train_sentencepiece(
    captions: Iterable[str | bytes],
    *,
    vocab_size: int,
    name: str = "sentencepiece",
    max_captions: int = 1_000_000,
    begin: bool = False,
) -> SentencePieceTokenizer:
    """A unigram model of the captions: NFKC, case folded, bytes for what is not in it.

    The same captions in the same order give the same bytes. Ids: pad 0, end 1, unknown 2, begin 3
    where there is one.

    Args:
      captions: training text; captions that `clean_caption` refuses are skipped.
      vocab_size: upper bound of the vocabulary; few captions give a smaller one.
      name: what reports call the tokenizer.
      max_captions: only the first so many are used, which bounds time and memory.
      begin: whether captions start with a token of their own, so that they can be written from
        nothing (CoCa).

    Raises:
      ValueError: the vocabulary is too small for bytes and characters, or no caption is usable.
    """
    if vocab_size < _SMALLEST_VOCABULARY:
        raise ValueError(
            f"vocab_size must be at least {_SMALLEST_VOCABULARY} (256 bytes, 3 special tokens "
            f"and some characters), got {vocab_size}; try 1024 or more"
        )
    usable = itertools.islice(_usable(captions), max_captions)
    first = next(usable, None)
    if first is None:
        raise ValueError(
            "training a tokenizer needs at least one usable caption, got none; "
            "name a tokenizer that is there"
        )
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=itertools.chain([first], usable),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            byte_fallback=True,
            normalization_rule_name="nmt_nfkc_cf",
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=UNK_ID,
            bos_id=BEGIN_ID if begin else -1,
            num_threads=1,  # the order of summation decides the last bits
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(
            f"SentencePiece could not build vocab_size={vocab_size} from these captions "
            f"({error}); try another size"
        ) from error
    return SentencePieceTokenizer(model.getvalue(), name=name, begin=begin)


def _usable(captions: Iterable[str | bytes]) -> Iterator[str]:
    for caption in captions:
        with contextlib.suppress(Reject):
            yield clean_caption(caption)
