"""Folders as transformers wrote them before 4.34: added tokens in files of their own."""

import json

import pytest
import sentencepiece

from data_pipelines.tokens import open_tokenizer
from data_pipelines.tokens.clip import clip_merges, clip_vocabulary, read_merges
from tests.hostile import captions
from tests.peers.tokenizing import (
    bert_vocabulary,
    differing,
    open_peer,
    peer_ids,
    sentencepiece_model,
    write_json,
)
from vlp.interop.hf.tokenizers import read_tokenizer

LENGTH = 40
TEXTS = captions(300)


def clip(folder):
    merges = read_merges(clip_merges(), "clip")[:2000]
    vocabulary = clip_vocabulary(merges, special=("<|startoftext|>", "<|endoftext|>"))
    write_json(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "CLIPTokenizer", len(vocabulary)


def bert(folder):
    vocabulary = bert_vocabulary()
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return "BertTokenizer", len(vocabulary)


def siglip(folder):
    (folder / "spiece.model").write_bytes(sentencepiece_model())
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    return "SiglipTokenizer", model.vocab_size()


FAMILIES = {"clip": clip, "bert": bert, "siglip": siglip}
# What tokenizer_config.json, special_tokens_map.json and added_tokens.json say.
FOLDERS = {
    "nothing more": ({}, {}, []),
    "two tokens": ({}, {}, ["<cat-toy>", "mydog"]),
    "capitals": ({}, {}, ["MyDog", "<X>"]),
    "special by the map": ({}, {"additional_special_tokens": ["<obj>"]}, ["<obj>"]),
    "special by the config": ({"additional_special_tokens": ["<obj>"]}, {}, ["<obj>", "word"]),
    "extra": ({"extra_special_tokens": ["<obj>"]}, {}, ["<obj>", "word"]),
    "special and nowhere else": ({"additional_special_tokens": ["<obj2>"]}, {}, ["word"]),
    "a mask of its own": ({}, {"mask_token": "<m>"}, ["<m>"]),
}


@pytest.fixture(params=[(f, v) for f in FAMILIES for v in FOLDERS], ids="-".join)
def folder(request, tmp_path):
    family, variant = request.param
    config, named, added = FOLDERS[variant]
    name, size = FAMILIES[family](tmp_path)
    write_json(tmp_path / "config.json", {"model_type": family})
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": name, **config})
    write_json(tmp_path / "special_tokens_map.json", named)
    write_json(tmp_path / "added_tokens.json", {t: size + i for i, t in enumerate(added)})
    return tmp_path


@pytest.mark.filterwarnings("ignore:This sequence already has")
def test_ids_are_those_of_transformers(folder):
    added = json.loads((folder / "added_tokens.json").read_text())
    around = [text for t in added for text in (t, f"a {t} b", f"x{t}y", f"{t}{t}", t.upper())]
    texts = [*TEXTS, *around, "a mydog MYDOG <obj>  z <OBJ>", "<obj2> q"]
    ours, theirs = read_tokenizer(folder), peer_ids(open_peer(folder), texts, LENGTH)
    assert differing(ours.encode(texts, LENGTH), theirs, texts) == []
    # As a run keeps it.
    ours.save(folder / "kept")
    again = open_tokenizer(ours.kind, folder / "kept", name=ours.name, **ours.settings)
    assert again.sha256 == ours.sha256
    assert (again.encode(texts, LENGTH) == ours.encode(texts, LENGTH)).all()


def test_ids_that_do_not_follow_on_the_vocabulary_are_refused(tmp_path):
    _, size = clip(tmp_path)
    write_json(tmp_path / "config.json", {"model_type": "clip"})
    write_json(tmp_path / "added_tokens.json", {"<a>": size + 1})
    with pytest.raises(ValueError, match=f"'<a>' would be {size} and not {size + 1}, so the model"):
        read_tokenizer(tmp_path)
