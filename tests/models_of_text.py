"""Small vocabularies of each kind, made without the peers."""

import functools
import io

import sentencepiece

from tests.hostile import FIXED, captions

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MERGES = (
    *(("a", "t"), ("c", "at"), ("e", "d"), ("r", "ed"), ("o", "g"), ("d", "og"), ("t", "h")),
    *(("th", "e"), ("\u2581", "cat"), ("\u2581", "red"), ("\u2581", "the"), ("o", "n")),
)


@functools.cache
def unigram() -> bytes:
    """A SentencePiece model with SigLIP's special ids over many scripts."""
    model = io.BytesIO()
    # Not the endless repetitions, which would be cut in several equally likely ways.
    scripts = captions(1000, seed=7, special=False)[len(FIXED) :]
    lines = ["a red cat", "the blue dog and the red cat"] * 40
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*scripts, *lines]),
        model_writer=model,
        model_type="unigram",
        vocab_size=1400,
        character_coverage=0.98,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


def _gemma() -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += ["\u2581", *_LETTERS, *_LETTERS.upper(), *(a + b for a, b in _MERGES)]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}, list(_MERGES)


# Vocabulary and merges of a byte-pair encoding in Gemma's style.
GEMMA = _gemma()
# The content of a vocab.txt.
WORDPIECES = "\n".join(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS, *(f"##{x}" for x in _LETTERS)]
    + ["red", "cat", "the", "猫", ",", "!", "é", ""]
).encode()
