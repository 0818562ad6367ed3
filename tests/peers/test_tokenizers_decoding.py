"""Ids are read again as open_clip and transformers read them."""

import pytest
import transformers
from open_clip.tokenizer import SimpleTokenizer

from data_pipelines.tokens import bert_tokenizer, clip_tokenizer, hf_clip_tokenizer, read_vocabulary
from data_pipelines.tokens.clip import clip_merges, clip_vocabulary, read_merges
from tests.hostile import captions
from tests.peers.tokenizing import bert_vocabulary

TEXTS = captions(2000, special=False)
LENGTH = 40


def test_clip_s_text_is_open_clip_s():
    ours, theirs = clip_tokenizer(), SimpleTokenizer()
    ids = ours.encode(TEXTS, LENGTH)
    wanted = []
    for row in ids.tolist():
        text = theirs.decode(row[: row.index(ours.eos_id)])
        wanted.append(text.removeprefix("<start_of_text>").strip(" "))
    assert ours.decode(ids) == wanted


@pytest.fixture(scope="module")
def peers():
    merges = read_merges(clip_merges(), "clip")
    vocabulary = clip_vocabulary(merges, special=("<|startoftext|>", "<|endoftext|>"))
    words = bert_vocabulary()
    numbered = {word: i for i, word in enumerate(words)}
    return {
        "clip": (hf_clip_tokenizer(), transformers.CLIPTokenizer(vocabulary, merges)),
        "bert": (
            bert_tokenizer(read_vocabulary("\n".join(words).encode())),
            transformers.BertTokenizer(numbered),
        ),
    }


@pytest.mark.parametrize("kind", ["clip", "bert"])
def test_text_is_that_of_transformers(peers, kind):
    ours, theirs = peers[kind]
    ids = ours.encode(TEXTS, LENGTH)
    settings = dict(skip_special_tokens=True, clean_up_tokenization_spaces=False)
    wanted = [theirs.decode(row, **settings).strip() for row in ids.tolist()]
    # There a separator at the end is lost with the spaces.
    assert [text.strip() for text in ours.decode(ids)] == wanted
