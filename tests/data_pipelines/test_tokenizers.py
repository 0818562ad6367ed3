"""Tokenizers of every family: rows, the card that makes them again, and what they refuse."""

import html
import json
import pickle
import random
import time

import ftfy
import numpy as np
import pytest

from data_pipelines.text import train_sentencepiece
from data_pipelines.tokens import (
    KINDS,
    PipelineTokenizer,
    SentencePieceTokenizer,
    SiglipTokenizer,
    Tokenizer,
    bert_tokenizer,
    big_vision_tokenizer,
    clip_tokenizer,
    gemma_tokenizer,
    hf_clip_tokenizer,
    open_tokenizer,
    read_vocabulary,
    t5_tokenizer,
)
from data_pipelines.tokens.clean import CLEANINGS, repaired
from data_pipelines.tokens.clip import ClipTokenizer, clip_merges
from data_pipelines.tokens.spiece import read_model
from tests.hostile import captions
from tests.models_of_text import GEMMA, WORDPIECES, unigram

TEXTS = captions(400)
LENGTH = 20


def made(kind):
    model = unigram()
    pieces = read_model(model, "unigram")
    scores = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.vocab_size())]
    return {
        "ours": lambda: SentencePieceTokenizer(model, name="ours"),
        "ours with a begin": lambda: train_sentencepiece(
            captions(400), vocab_size=1024, begin=True
        ),
        "big_vision": lambda: big_vision_tokenizer(model, pad_id=1),
        "siglip": lambda: SiglipTokenizer(model, lower=False, padding_side="left"),
        "clip": clip_tokenizer,
        "open_clip canonical": lambda: clip_tokenizer(clean="canonicalize", name="other"),
        "clip of transformers": hf_clip_tokenizer,
        "gemma": lambda: gemma_tokenizer(*GEMMA),
        "bert": lambda: bert_tokenizer(read_vocabulary(WORDPIECES)),
        "t5": lambda: t5_tokenizer(scores, rules=None),
    }[kind]()


ALL = ["ours", "ours with a begin", "big_vision", "siglip", "clip", "open_clip canonical"]
ALL += ["clip of transformers", "gemma", "bert", "t5"]


@pytest.fixture(scope="module", params=ALL)
def tokenizer(request):
    return made(request.param)


def test_every_family_is_a_tokenizer(tokenizer):
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.kind in KINDS
    assert 0 <= max(tokenizer.pad_id, tokenizer.eos_id) < tokenizer.vocab_size


def test_rows_are_of_one_length_and_end(tokenizer):
    ids = tokenizer.encode(TEXTS, LENGTH)
    assert (ids.shape, ids.dtype) == ((len(TEXTS), LENGTH), np.int32)
    assert ((0 <= ids) & (ids < tokenizer.vocab_size)).all()
    assert (ids == tokenizer.eos_id).any(axis=1).all()
    assert tokenizer.encode([], LENGTH).shape == (0, LENGTH)


def test_a_cut_text_keeps_its_beginning_and_its_end(tokenizer):
    long, short = (
        tokenizer.encode(["red cat " * 200], 60)[0],
        tokenizer.encode(["red cat " * 200], 6)[0],
    )
    assert short[-1] == long[-1] == tokenizer.eos_id
    np.testing.assert_array_equal(short[:-1], long[:5])


def test_texts_are_encoded_independently(tokenizer):
    alone = np.concatenate([tokenizer.encode([text], LENGTH) for text in TEXTS[:40]])
    np.testing.assert_array_equal(tokenizer.encode(TEXTS[:40], LENGTH), alone)


def test_a_card_makes_the_same_tokenizer_again(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "file")
    settings = json.loads(json.dumps(tokenizer.settings))
    again = open_tokenizer(tokenizer.kind, tmp_path / "file", name=tokenizer.name, **settings)
    pickled = pickle.loads(pickle.dumps(tokenizer))
    for other in (again, pickled):
        assert other.sha256 == tokenizer.sha256
        assert (other.name, other.settings) == (tokenizer.name, tokenizer.settings)
        np.testing.assert_array_equal(other.encode(TEXTS, LENGTH), tokenizer.encode(TEXTS, LENGTH))


def test_a_row_must_have_room(tokenizer):
    with pytest.raises(ValueError, match="length must be at least [23]"):
        tokenizer.encode(["a"], 1)


def test_the_longest_caption_is_encoded_in_bounded_time(tokenizer):
    start = time.perf_counter()
    tokenizer.encode(["a" * 65536, "a " * 32768], 16)
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("kind", ["ours", "big_vision", "clip of transformers", "gemma", "bert"])
def test_a_tokenizer_json_gives_the_same_ids(kind):
    tokenizer = made(kind)
    texts = [text for text in captions(1500) if not _stacked(text)]
    exported = tokenizer.to_tokenizer_json(LENGTH)
    # Ours takes the names of special tokens for plain text; that a file cannot say.
    exported.encode_special_tokens = kind in ("ours", "big_vision")
    ids = np.asarray([row.ids for row in exported.encode_batch(texts)])
    assert _differing(tokenizer.encode(texts, LENGTH), ids, texts) == []


@pytest.mark.parametrize("settings", [{}, {"lower": False, "padding_side": "left"}])
def test_a_tokenizer_json_of_siglip_gives_the_same_ids(settings):
    tokenizer = SiglipTokenizer(unigram(), **settings)
    texts = [text for text in captions(4000, special=False) if not _stacked(text)]
    ids = [row.ids for row in tokenizer.to_tokenizer_json(LENGTH).encode_batch(texts)]
    assert _differing(tokenizer.encode(texts, LENGTH), np.asarray(ids), texts) == []


def test_settings_are_part_of_the_hash_and_defaults_are_not():
    model = unigram()
    plain = SentencePieceTokenizer(model)
    assert plain.settings == {}
    assert plain.sha256 == SentencePieceTokenizer(model, clean="none", name="other").sha256
    assert plain.sha256 != SentencePieceTokenizer(model, clean="ascii_lower").sha256
    assert clip_tokenizer().sha256 != clip_tokenizer(clean="whitespace").sha256


def test_a_card_from_before_there_were_settings_still_opens(tmp_path):
    tokenizer = train_sentencepiece(["a red cat"] * 9, vocab_size=300)
    tokenizer.save(tmp_path / "tokenizer.model")
    again = open_tokenizer("sentencepiece", tmp_path / "tokenizer.model", name="tokenizer")
    assert again.sha256 == tokenizer.sha256


def test_clip_ids_are_those_everybody_knows():
    ids = clip_tokenizer().encode(["a photo of a cat", "A  Photo of a CAT", "hello world!"], 8)
    assert ids[0].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 0]
    assert ids[1].tolist() == ids[0].tolist()
    assert ids[2].tolist() == [49406, 3306, 1002, 256, 49407, 0, 0, 0]
    assert clip_tokenizer().vocab_size == 49408
    padded = hf_clip_tokenizer().encode(["a photo of a cat"], 8)[0]
    assert padded.tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 49407]


def test_clip_takes_the_name_of_a_special_token_where_it_stands_alone():
    tokenizer = clip_tokenizer()
    alone = tokenizer.encode(["cat<end_of_text>dog"], 6)[0].tolist()
    assert alone == [49406, 2368, 49407, 1929, 49407, 0]
    glued = tokenizer.encode(["!!<end_of_text>"], 20)[0]
    assert (glued == 49407).sum() == 1


def test_siglip_drops_punctuation_and_ends_once():
    tokenizer = SiglipTokenizer(unigram())
    first, second = tokenizer.encode(["A red, CAT!", "a red cat"], LENGTH)
    np.testing.assert_array_equal(first, second)
    ended = tokenizer.encode(["a red cat</s>"], LENGTH)[0]
    np.testing.assert_array_equal(ended, second)


def test_big_vision_lowers_ascii_only_and_keeps_punctuation():
    tokenizer, plain = made("big_vision"), made("ours")
    ids = tokenizer.encode(["A RED cat, É"], LENGTH)
    expected = plain.encode(["a red cat, É"], LENGTH)
    expected[expected == plain.pad_id] = 1
    np.testing.assert_array_equal(ids, expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", "  ﬁne &amp;amp; It_IS, É "),
        ("ascii_lower", "  ﬁne &amp;amp; it_is, É "),
        ("whitespace", "fine & It_IS, É"),
        ("lower", "fine & it_is, é"),
        ("canonicalize", "fine it is é"),
    ],
)
def test_cleanings_do_what_they_say(name, expected):
    assert CLEANINGS[name]("  ﬁne &amp;amp; It_IS, É ") == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: open_tokenizer("word", __file__, name="a"), "kind must be one of sentencepiece,"),
        (
            lambda: open_tokenizer("clip", __file__, name="a", size=3),
            "settings of a clip tokenizer",
        ),
        (lambda: clip_tokenizer(clean="upper"), "clean must be one of none, .* got 'upper'"),
        (lambda: ClipTokenizer(b"a b c\n"), r"lines of two symbols, got \('a', 'b', 'c'\)"),
        (lambda: PipelineTokenizer(b"{}", pad_id=0, eos_id=1), "must be a tokenizer.json, got 2"),
        (lambda: SiglipTokenizer(b"nothing"), "must be a SentencePiece .model file"),
        (lambda: SiglipTokenizer(unigram(), eos_token="<end>"), "must have the piece '<end>'"),
        (lambda: SiglipTokenizer(unigram(), padding_side="top"), "padding_side must be one of"),
        (lambda: bert_tokenizer({"a": 0}), r"must have \[CLS\], \[PAD\], \[SEP\], \[UNK\]"),
        (lambda: gemma_tokenizer({"a": 0}, []), "vocabulary of gemma must have <bos>, <eos>"),
        (lambda: hf_clip_tokenizer({"a": 0}, []), "vocabulary of clip must have"),
        (lambda: clip_tokenizer().to_tokenizer_json(9), "ftfy and HTML entities"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_id_outside_the_file_is_refused():
    content = hf_clip_tokenizer().content
    with pytest.raises(ValueError, match="pad_id must be an id of tokenizer, whose 49408 tokens"):
        PipelineTokenizer(content, pad_id=60000, eos_id=1)


def test_the_table_of_merges_is_the_whole_of_what_clip_uses():
    lines = clip_merges().decode().splitlines()
    assert (lines[0], lines[1], len(lines)) == ("#version: 0.2", "i n", 1 + 49152 - 256 - 2)


def _differing(ours, theirs, texts):
    return [texts[i] for i in np.flatnonzero((ours != theirs).any(axis=1))]


def _stacked(text):
    """Heaps of combining marks: the documented difference of converted SentencePiece models."""
    return any(mark in text for mark in "\u0301\u0323\u0302\u0307\u0344")


def random_texts(count, symbols):
    rng = random.Random(0)
    return ["".join(rng.choices(symbols, k=rng.randint(0, 40))) for _ in range(count)]


def test_what_needs_no_repair_is_as_ftfy_leaves_it():
    for text in random_texts(3000, [chr(code) for code in range(32, 127)]):
        expected = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        assert repaired(text) == expected, text


def test_clip_gives_a_text_in_ascii_the_ids_that_it_has_before_other_letters():
    tokenizer = ClipTokenizer(clip_merges(), clean="none")
    tail = tokenizer.encode(["\u4e2d"], 200)[0][1:]
    tail = tail[: np.argmax(tail == tokenizer.eos_id) + 1].tolist()
    symbols = [chr(code) for code in range(1, 128)]
    symbols += ["'s", "'LL", "'Re", "dog", "THE ", " beach ", "<start_of_text>", "<End_of_text>"]
    long = ["a" * 100 + "!" * 100]
    for text in random_texts(1500, symbols) + long:
        alone = tokenizer.encode([text], 200)[0].tolist()
        ids = tokenizer.encode([f"{text} \u4e2d"], 200)[0].tolist()
        end = len(alone) - alone[::-1].index(tokenizer.eos_id) - 1
        assert ids[: end + len(tail)] == alone[:end] + tail, text
