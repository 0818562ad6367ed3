"""Tokenizers of every family read their own ids again."""

import numpy as np
import pytest
from test_tokenizers import ALL, made

from tests.hostile import captions

PLAIN = ["a red cat", "the blue dog and the red cat", "the dog"]


@pytest.fixture(scope="module", params=ALL)
def tokenizer(request):
    return made(request.param)


def test_plain_words_come_back(tokenizer):
    assert tokenizer.decode(tokenizer.encode(PLAIN, 30)) == PLAIN
    assert tokenizer.decode(tokenizer.encode([], 30)) == []


@pytest.mark.parametrize("kind", ["ours with a begin", "clip", "clip of transformers"])
def test_where_nothing_is_lost_the_text_has_the_same_ids_again(kind):
    tokenizer = made(kind)
    ids = tokenizer.encode(captions(500, special=False), 64)
    whole = ids[ids[:, -2] == tokenizer.pad_id]  # cut texts may end within a letter
    assert len(whole) > 200
    np.testing.assert_array_equal(tokenizer.encode(tokenizer.decode(whole), 64), whole)


def test_what_lies_behind_the_end_is_not_read(tokenizer):
    ids = tokenizer.encode(PLAIN, 30)
    row = ids[0].tolist()
    left = row[0] == tokenizer.pad_id
    start = next(i for i, token in enumerate(row) if token != tokenizer.pad_id) if left else 0
    end = row.index(tokenizer.eos_id, start)
    ids[0, end + 1 :] = ids[1, 1 : 30 - end]
    assert tokenizer.decode(ids) == PLAIN


def test_a_row_without_an_end_is_read_to_its_end(tokenizer):
    ids = tokenizer.encode(["a red cat"], 30)
    row = ids[0].tolist()
    first = next(i for i, token in enumerate(row) if token != tokenizer.pad_id)
    cut = ids[:, first : row.index(tokenizer.eos_id, first)]
    assert tokenizer.decode(cut) == ["a red cat"]


def test_ids_of_a_larger_vocabulary_are_left_out(tokenizer):
    ids = tokenizer.encode(["a red cat"], 30)
    middle = int(np.flatnonzero(ids[0] != tokenizer.pad_id)[2])
    foreign = np.int32([[tokenizer.vocab_size, 10**6, -1]])
    wider = np.concatenate([ids[:, :middle], foreign, ids[:, middle:]], axis=1)
    assert tokenizer.decode(wider) == ["a red cat"]


def test_every_id_may_be_read(tokenizer):
    everything = np.arange(tokenizer.vocab_size, dtype=np.int32)[:, None]
    texts = tokenizer.decode(everything)
    assert len(texts) == tokenizer.vocab_size and all(isinstance(text, str) for text in texts)


@pytest.mark.parametrize("kind", ALL)
def test_the_begin_token_is_the_first_of_every_text(kind):
    tokenizer = made(kind)
    begins = {"ours with a begin": 3, "clip": 49406, "open_clip canonical": 49406}
    begins |= {"clip of transformers": 49406, "bert": 2}
    assert tokenizer.begin_id == begins.get(kind)
    first = tokenizer.encode(PLAIN, 30)[:, 0]
    assert (first == tokenizer.begin_id).all() == (tokenizer.begin_id is not None)
