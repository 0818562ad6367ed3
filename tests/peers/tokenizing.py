"""Small tokenizers of every family, made on the spot, and how to ask transformers for ids."""

import io
import json
from pathlib import Path

import numpy as np
import sentencepiece
import tokenizers
import transformers

from tests.hostile import captions

LENGTH = 24


def peer_ids(tokenizer, texts, length=LENGTH):
    """Ids of a tokenizer of transformers, cut and padded."""
    out = tokenizer(texts, padding="max_length", truncation=True, max_length=length)
    return np.asarray(out["input_ids"])


def open_peer(folder):
    """What `AutoTokenizer` makes of a folder."""
    return transformers.AutoTokenizer.from_pretrained(folder)


def differing(ours, theirs, texts):
    """The texts whose rows differ."""
    assert ours.shape == theirs.shape
    return [texts[i] for i in np.flatnonzero((ours != theirs).any(axis=1))]


def write_json(path: Path, value):
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def sentencepiece_model(*, size=1500, **settings) -> bytes:
    """A unigram model with T5's special ids, normalised as c4_en is, over many scripts."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions(1500, seed=7, special=False)),
        model_writer=model,
        model_type="unigram",
        vocab_size=size,
        character_coverage=0.98,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
        **(dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1) | settings),
    )
    return model.getvalue()


def gemma_bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-pair encoding in Gemma's style: visible spaces, bytes for what is unknown."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.normalizer = tokenizers.normalizers.Replace(" ", "\u2581")
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split("\u2581", "merged_with_next")
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=[*names, *(f"<0x{byte:02X}>" for byte in range(256))],
        limit_alphabet=250,
        show_progress=False,
    )
    lines = captions(1500, seed=8, special=False)
    made.train_from_iterator([line.lower() for line in lines] + lines[:500], trainer)
    model = json.loads(made.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def bert_vocabulary() -> list[str]:
    """Special tokens, letters, their continuations, and some words."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    lines = captions(800, seed=9, special=False)
    letters = sorted({letter for line in lines for letter in line if letter.isprintable()})
    letters = [letter for letter in letters if not letter.isspace()][::2]
    words = sorted({word.lower() for line in lines for word in line.split() if word.isalpha()})
    return list(dict.fromkeys([*names, *letters, *(f"##{x}" for x in letters), *words[::3]]))
