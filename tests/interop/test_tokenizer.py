import io
import random
import unicodedata

import numpy as np
import pytest
import sentencepiece

from data_pipelines.tokens.convert import EOS, PAD, UNK, convert_sentencepiece
from tests.interop.tiny import LENGTH, tokenizer
from vlp.interop.parity import TEXTS

HOSTILE = (
    *TEXTS,
    "Ǆ ǅ ß ẞ ŉ ſ K Å",
    "e\u0301 E\u0301 I\u0307 x\u030c a\u0323\u0302",
    "가 ｶﾞｷﾞｸﾞ 日本～東京〜京都",
    "𝒜𝓁𝓅𝒽𝒶 ①②③ ½ ㎏ ﷺ",
    "🧑🏽‍🚀 🏳️‍🌈 🇫🇷 ☺︎ ☺️",
    "NUL\0here \x01\x02 \x7f\u0085",
    "\u202eright to left\u202c \ufffd",
    "<0x0A><0xFF> <0xfe> <0x0> x<0x41",
    "<unknown piece><pad token><end of text>",
    "a\u200db\u200cc\u2060d\ufeffe",
    "\U0001f9ff" * 40,
    "é" * 3000,
)


@pytest.fixture(scope="module")
def converted():
    made = convert_sentencepiece(tokenizer().model, length=LENGTH)
    made.encode_special_tokens = True
    return made


def ids(converted, texts):
    return np.asarray([row.ids for row in converted.encode_batch(list(texts))], np.int32)


def differing(ours, theirs, texts):
    return [texts[i] for i in np.flatnonzero((ours != theirs).any(axis=1))]


def test_hostile_captions_get_the_same_ids(converted):
    expected = tokenizer().encode(HOSTILE, LENGTH)
    assert differing(expected, ids(converted, HOSTILE), HOSTILE) == []


def test_every_kind_of_character_gets_the_same_ids(converted):
    letters = [chr(c) for c in range(0x30000) if unicodedata.category(chr(c)) not in ("Cs", "Co")]
    letters.remove("\u0344")  # two marks in one, deprecated: a known difference
    texts = [f"a{letter}B" for letter in letters[:2000] + letters[2000::61]]
    expected = tokenizer().encode(texts, LENGTH)
    assert differing(expected, ids(converted, texts), texts) == []


def test_random_mixtures_get_the_same_ids(converted):
    rng = random.Random(0)
    # Heaps of combining marks are the known difference.
    hostile = "".join(char for char in "".join(HOSTILE) if not unicodedata.combining(char))
    pools = ["abc <>&x0", hostile, "👩‍👧❤️🏽☺", "あア가漢ｶﾞ", "éüñçßİ"]
    texts = ["".join(rng.choice(rng.choice(pools)) for _ in range(9)) for _ in range(2000)]
    expected = tokenizer().encode(texts, LENGTH)
    assert differing(expected, ids(converted, texts), texts) == []


def test_long_captions_keep_their_end_and_short_ones_are_padded(converted):
    long, empty = ids(converted, ["heart " * 100, ""])
    assert long[-1] == tokenizer().eos_id
    assert empty[0] == tokenizer().eos_id
    assert set(empty[1:]) == {tokenizer().pad_id}


def test_special_ids_are_those_of_the_model(converted):
    named = [converted.token_to_id(name) for name in (PAD, EOS, UNK)]
    assert named == [0, 1, 2]


def test_decoding_gives_the_caption_back(converted):
    for text in ("a red heart", "日本語 café", "🧿"):
        assert converted.decode(ids(converted, [text])[0]) == text


@pytest.mark.parametrize("rule", ["identity", "nfkc", "nmt_nfkc", "nfkc_cf"])
def test_models_with_other_normalisations_convert_as_well(rule):
    model = _train(normalization_rule_name=rule)
    made = convert_sentencepiece(model, length=40)
    made.encode_special_tokens = True
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    for text in HOSTILE:
        expected = processor.encode(text)[:39] + [1]
        assert ids(made, [text])[0].tolist()[: len(expected)] == expected, (rule, text)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"model_type": "bpe"}, "model_type=unigram"),
        ({"treat_whitespace_as_suffix": True}, "treat_whitespace_as_suffix=false"),
        ({"user_defined_symbols": ["heart"]}, "no user-defined or unused pieces"),
        ({"pad_id": -1}, "pad, eos and unk ids"),
    ],
)
def test_models_that_cannot_be_reproduced_are_refused(settings, named):
    with pytest.raises(ValueError, match=f"needs {named}, got .*train_sentencepiece"):
        convert_sentencepiece(_train(**settings), length=8)


def _train(**settings):
    model = io.BytesIO()
    defaults = dict(vocab_size=330, byte_fallback=True, hard_vocab_limit=False, minloglevel=2)
    ids_ = dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    lines = ["a red heart and a blue cat", "The smiling FACE of a family", "～ İ ▁ x"] * 30
    settings = defaults | ids_ | settings
    if settings.get("model_type") == "bpe":
        del settings["hard_vocab_limit"]
        settings["vocab_size"] = 300
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, **settings
    )
    return model.getvalue()
