"""Captions: what is refused, and that the tokenizer is deterministic and cannot be tricked."""

import pickle
import time

import numpy as np
import pytest

from data_pipelines.faults import Reject
from data_pipelines.text import (
    BEGIN_ID,
    EOS_ID,
    PAD_ID,
    SentencePieceTokenizer,
    clean_caption,
    train_sentencepiece,
)

WORDS = "red green blue big small old new round square shiny".split()
THINGS = "cat dog house tree car apple star moon boat drum".split()
CAPTIONS = [f"a {word} {thing}" for word in WORDS for thing in THINGS]


@pytest.fixture(scope="module")
def tokenizer():
    return train_sentencepiece(CAPTIONS, vocab_size=400)


def test_captions_begin_with_a_token_of_their_own_where_that_is_asked_for(tmp_path):
    tokenizer = train_sentencepiece(CAPTIONS, vocab_size=400, begin=True)
    ids = tokenizer.encode(["a red cat", "</s>" * 9], 9)
    assert ids[:, 0].tolist() == [BEGIN_ID] * 2 and not np.any(ids[:, 1:] == BEGIN_ID)
    assert ids[1, -1] == EOS_ID
    tokenizer.save(tmp_path / "a.model")
    plain = SentencePieceTokenizer.load(tmp_path / "a.model")
    np.testing.assert_array_equal(ids[0, 1:], plain.encode(["a red cat"], 8)[0])
    with pytest.raises(ValueError, match="length must be at least 3"):
        tokenizer.encode(["a"], 2)


def test_a_model_without_a_begin_token_cannot_begin_with_it(tokenizer):
    with pytest.raises(ValueError, match="begin=True needs a model with a begin token"):
        SentencePieceTokenizer(tokenizer.model, begin=True)


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        (b"a cat", "a cat"),
        ("  a\tcat \n", "a cat"),
        (b"\xef\xbb\xbfa cat", "a cat"),
        ("שלום 👩‍🚀", "שלום 👩‍🚀"),
        (b"x" * 65536, "x" * 65536),
    ],
)
def test_a_good_caption_keeps_its_words(caption, text):
    assert clean_caption(caption) == text


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        (b"", "caption empty"),
        (" \t\n", "caption empty"),
        ("\ufeff", "caption empty"),
        (b"caf\xe9", "caption not utf-8"),
        ("a cat".encode("utf-16"), "caption not utf-8"),
        ("a cat".encode("utf-16-le"), "caption with NUL (utf-16?)"),
        ("a\0cat", "caption with NUL (utf-16?)"),
        ("\ud800", "caption not utf-8"),
        (b"x" * 65537, "caption too long"),
        ("é" * 40000, "caption too long"),
        (b"a" * 50_000_000, "caption too long"),
    ],
)
def test_a_bad_caption_is_rejected_with_its_reason(caption, reason):
    with pytest.raises(Reject) as caught:
        clean_caption(caption)
    assert caught.value.reason == reason


def test_rows_are_tokens_the_end_and_padding(tokenizer):
    ids = tokenizer.encode(["a red cat", "a blue dog and a red cat"], 8)
    assert ids.dtype == np.int32
    for row in ids:
        end = int(np.flatnonzero(row == EOS_ID)[0])
        assert (row[end + 1 :] == PAD_ID).all()
        assert not np.isin(row[:end], [PAD_ID, EOS_ID]).any()


def test_truncation_keeps_the_end_and_the_first_tokens(tokenizer):
    text = " ".join(CAPTIONS)
    long, short = tokenizer.encode([text], 50)[0], tokenizer.encode([text], 5)[0]
    np.testing.assert_array_equal(short[:4], long[:4])
    assert short[-1] == long[-1] == EOS_ID


def test_texts_are_encoded_independently(tokenizer):
    together = tokenizer.encode(CAPTIONS[:20], 12)
    alone = np.concatenate([tokenizer.encode([text], 12) for text in CAPTIONS[:20]])
    np.testing.assert_array_equal(together, alone)
    assert tokenizer.encode([], 12).shape == (0, 12)


def test_the_same_captions_give_the_same_model(tokenizer):
    again = train_sentencepiece(iter(CAPTIONS), vocab_size=400)
    assert again.sha256 == tokenizer.sha256
    assert train_sentencepiece(CAPTIONS[1:], vocab_size=400).sha256 != tokenizer.sha256


def test_special_tokens_have_their_ids_and_a_small_set_gives_a_small_vocabulary(tokenizer):
    assert (tokenizer.pad_id, tokenizer.eos_id) == (0, 1)
    assert 259 < tokenizer.vocab_size <= 400
    assert train_sentencepiece(["a cat"], vocab_size=32_000).vocab_size < 400


@pytest.mark.parametrize("literal", ["</s>", "<pad>", "<unk>", "<0x41>", "<|endoftext|>", "<s>"])
def test_names_of_special_tokens_in_a_caption_are_plain_text(tokenizer, literal):
    row = tokenizer.encode([f"a {literal} cat"], 40)[0]
    assert (row == EOS_ID).sum() == 1
    assert (row[: int(np.argmax(row == EOS_ID))] > 2).all()
    plain_byte = tokenizer.encode(["a A cat"], 40)[0]
    assert not np.array_equal(row, plain_byte)


@pytest.mark.parametrize("text", ["☃", "日本語", "\x07", "👩‍🚀", "ǅ"])
def test_text_outside_the_vocabulary_is_told_apart_by_its_bytes(tokenizer, text):
    row, other = tokenizer.encode([text, "☂"], 30)
    assert 2 not in row  # never unknown
    assert not np.array_equal(row, other)


def test_case_and_compatibility_forms_do_not_matter(tokenizer):
    same = tokenizer.encode(["A RED CAT", "a red cat", "ａ ｒｅｄ ｃａｔ"], 12)
    assert (same == same[0]).all()


def test_the_longest_caption_is_encoded_in_bounded_time(tokenizer):
    start = time.perf_counter()
    tokenizer.encode(["a" * 65536], 16)
    assert time.perf_counter() - start < 5


def test_a_saved_and_a_pickled_tokenizer_encode_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.model")
    loaded = SentencePieceTokenizer.load(tmp_path / "tokenizer.model")
    pickled = pickle.loads(pickle.dumps(tokenizer))
    assert loaded.name == "tokenizer"
    for other in (loaded, pickled):
        assert other.sha256 == tokenizer.sha256
        np.testing.assert_array_equal(other.encode(CAPTIONS, 9), tokenizer.encode(CAPTIONS, 9))


def test_bad_captions_are_left_out_of_training():
    usable = train_sentencepiece(CAPTIONS, vocab_size=400)
    mixed = train_sentencepiece([b"\xff", *CAPTIONS, " "], vocab_size=400)
    assert mixed.sha256 == usable.sha256
    limited = train_sentencepiece([*CAPTIONS, "zebra"], vocab_size=400, max_captions=len(CAPTIONS))
    assert limited.sha256 == usable.sha256


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train_sentencepiece(CAPTIONS, vocab_size=100), "at least 300 .* got 100; try"),
        (lambda: train_sentencepiece(["", b"\xff"], vocab_size=400), "at least one usable caption"),
        (lambda: SentencePieceTokenizer(b"not a model"), "must be a SentencePiece .model file"),
        (lambda: train_sentencepiece(CAPTIONS, vocab_size=400).encode(["a"], 1), "at least 2"),
    ],
)
def test_values_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
