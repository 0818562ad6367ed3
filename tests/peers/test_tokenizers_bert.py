"""BERT's tokenizer, and generic pipelines, against transformers' on hostile captions."""

import json

import pytest
import transformers

from data_pipelines.text import train_sentencepiece
from data_pipelines.tokens import bert_tokenizer, read_vocabulary
from tests.hostile import captions
from tests.peers.tokenizing import (
    LENGTH,
    bert_vocabulary,
    differing,
    open_peer,
    peer_ids,
    write_json,
)
from vlp.interop.hf.tokenizer_write import write_tokenizer
from vlp.interop.hf.tokenizers import read_tokenizer

TEXTS = captions(10_000)


@pytest.fixture(scope="module")
def vocabulary():
    return "".join(f"{token}\n" for token in bert_vocabulary())


def folder_with(path, vocabulary, **config):
    (path / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    write_json(path / "config.json", {"model_type": "bert"})
    write_json(path / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", **config})
    return path


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False},
        {"do_lower_case": False, "strip_accents": True, "padding_side": "left"},
    ],
)
def test_ids_are_those_of_bert_tokenizer(vocabulary, tmp_path, config):
    folder = folder_with(tmp_path, vocabulary, **config)
    texts = TEXTS if not config else TEXTS[:3000]
    peer, ours = open_peer(folder), read_tokenizer(folder)
    assert differing(ours.encode(texts, LENGTH), peer_ids(peer, texts), texts) == []


def test_what_transformers_saved_gives_the_same_ids(vocabulary, tmp_path):
    folder = folder_with(tmp_path, vocabulary, do_lower_case=False)
    peer, saved, texts = open_peer(folder), tmp_path / "saved", TEXTS[:2000]
    peer.save_pretrained(saved)
    write_json(saved / "config.json", {"model_type": "vision-text-dual-encoder"})
    ours = read_tokenizer(saved)
    assert differing(ours.encode(texts, LENGTH), peer_ids(open_peer(saved), texts), texts) == []
    assert differing(ours.encode(texts, LENGTH), peer_ids(peer, texts), texts) == []


@pytest.mark.parametrize("end", [True, False])
def test_a_written_bert_tokenizer_opens_with_the_same_ids(vocabulary, tmp_path, end):
    tokenizer = bert_tokenizer(
        read_vocabulary(vocabulary.encode()), lower=False, strip_accents=True, end=end
    )
    write_json(tmp_path / "config.json", {"model_type": "bert"})
    write_tokenizer(tokenizer, tmp_path, length=LENGTH, config={"model_type": "bert"})
    opened, texts = open_peer(tmp_path), TEXTS[:2000]
    # big_vision's variant without an end token is no BertTokenizer, but a pipeline all the same.
    assert type(opened).__name__ == ("BertTokenizer" if end else "TokenizersBackend")
    assert differing(tokenizer.encode(texts, LENGTH), peer_ids(opened, texts), texts) == []


@pytest.mark.parametrize("split", [False, True])
def test_an_unknown_class_means_the_pipeline_of_the_file(vocabulary, tmp_path, split):
    made = transformers.BertTokenizer(vocab=json.loads(json.dumps(_ids(vocabulary))))
    made.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    write_json(tmp_path / "config.json", {"model_type": "vision-text-dual-encoder"})
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "split_special_tokens": split}
    names = {"pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    write_json(tmp_path / "tokenizer_config.json", config | names)
    ours, texts = read_tokenizer(tmp_path), TEXTS[:3000]
    assert ours.eos_id == 3
    theirs = peer_ids(open_peer(tmp_path), texts)
    assert differing(ours.encode(texts, LENGTH), theirs, texts) == []


@pytest.mark.parametrize("model_type", ["clip", "siglip"])
def test_our_own_tokenizer_opens_with_the_same_ids(tmp_path, model_type):
    # Heaps of combining marks are the known difference.
    texts = [text for text in captions(2000) if text.isascii()]
    tokenizer = train_sentencepiece(captions(1500, seed=3), vocab_size=2500)
    write_json(tmp_path / "config.json", {"model_type": model_type})
    write_tokenizer(tokenizer, tmp_path, length=LENGTH, config={"model_type": model_type})
    opened = open_peer(tmp_path)
    assert differing(tokenizer.encode(texts, LENGTH), peer_ids(opened, texts), texts) == []
    read = read_tokenizer(tmp_path)
    assert differing(tokenizer.encode(texts, LENGTH), read.encode(texts, LENGTH), texts) == []


def _ids(vocabulary):
    return read_vocabulary(vocabulary.encode())
