"""CLIP's tokenizers against open_clip's and transformers' on ten thousand hostile captions."""

import unicodedata

import numpy as np
import pytest
import regex
import tokenizers
from open_clip.tokenizer import SimpleTokenizer

from data_pipelines.tokens import clip_tokenizer, hf_clip_tokenizer
from data_pipelines.tokens.clip import clip_merges, clip_vocabulary, read_merges
from tests.hostile import captions
from tests.peers.tokenizing import differing, open_peer, peer_ids, write_json
from vlp.interop.hf.tokenizer_write import write_tokenizer
from vlp.interop.hf.tokenizers import read_tokenizer

LENGTH = 77
TEXTS = captions(10_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """vocab.json and merges.txt, as published checkpoints bring them."""
    path = tmp_path_factory.mktemp("clip")
    merges = read_merges(clip_merges(), "clip")
    vocabulary = clip_vocabulary(merges, special=("<|startoftext|>", "<|endoftext|>"))
    write_json(path / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (path / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(path / "config.json", {"model_type": "clip"})
    return path


@pytest.fixture(scope="module")
def peer(folder):
    return open_peer(folder)


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
def test_ids_are_those_of_open_clip(clean):
    ours = clip_tokenizer(clean=clean).encode(TEXTS, LENGTH)
    theirs = SimpleTokenizer(clean=clean)(TEXTS, LENGTH).numpy()
    assert differing(ours, theirs, TEXTS) == []


def test_the_libraries_disagree_on_letters_only_that_are_newer_than_this_python():
    # Both cut words by Unicode's letters and numbers, each in the edition that it was built with.
    kinds = (r"\p{L}", r"\p{N}", r"\s")
    ours = [tokenizers.Regex(kind) for kind in kinds]
    letters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    text = "".join(letters)
    for kind, pattern in zip(kinds, ours, strict=True):
        split = tokenizers.pre_tokenizers.Split(pattern, "removed", invert=True)
        found = {letter for piece, _ in split.pre_tokenize_str(text) for letter in piece}
        unequal = found ^ set(regex.findall(kind, text))
        known = {letter for letter in unequal if unicodedata.category(letter) != "Cn"}
        # Python's white space has four separators more; all cleanings have removed them.
        assert known <= set("\x1c\x1d\x1e\x1f"), kind


def test_ids_are_those_of_transformers(folder, peer):
    ours = read_tokenizer(folder).encode(TEXTS, LENGTH)
    assert differing(ours, peer_ids(peer, TEXTS, LENGTH), TEXTS) == []


def test_what_transformers_saved_gives_the_same_ids(peer, tmp_path):
    peer.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.json").exists()
    ours = read_tokenizer(tmp_path).encode(TEXTS[:2000], LENGTH)
    assert differing(ours, peer_ids(peer, TEXTS[:2000], LENGTH), TEXTS[:2000]) == []


def test_another_padding_token_is_read(folder, tmp_path):
    for name in ("vocab.json", "merges.txt", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    write_json(
        tmp_path / "special_tokens_map.json", {"pad_token": "!", "eos_token": "<|endoftext|>"}
    )
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizerFast"})
    texts = ["a cat !", "", "<|endoftext|> !"]
    ours = read_tokenizer(tmp_path)
    assert ours.pad_id == 0
    assert differing(ours.encode(texts, 9), peer_ids(open_peer(tmp_path), texts, 9), texts) == []


FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
NAMED = {
    "bos_token": {"content": "<|startoftext|>", **FLAGS},
    "eos_token": {"content": "<|endoftext|>", **FLAGS},
    "unk_token": {"content": "<|endoftext|>", **FLAGS},
    "pad_token": "<|endoftext|>",
}
DECODER = {
    "49406": {"content": "<|startoftext|>", **FLAGS, "special": True},
    "49407": {"content": "<|endoftext|>", **FLAGS, "lstrip": True, "special": True},
}


@pytest.mark.parametrize(
    ("config", "special"),
    [
        # As OpenAI's folders name them, as version 4 saves them, and with a token more.
        ({k: {"__type": "AddedToken", **v} for k, v in NAMED.items() if k != "pad_token"}, NAMED),
        ({"added_tokens_decoder": DECODER}, {}),
        ({"added_tokens_decoder": DECODER, "additional_special_tokens": ["cat"]}, NAMED),
        ({"extra_special_tokens": ["<end_of_text>"]}, {}),
    ],
)
@pytest.mark.parametrize("fast", [True, False])
def test_special_tokens_are_found_as_their_flags_say(folder, peer, tmp_path, config, special, fast):
    peer.save_pretrained(tmp_path)
    if not fast:
        (tmp_path / "tokenizer.json").unlink()
        for name in ("vocab.json", "merges.txt"):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
    write_json(tmp_path / "config.json", {"model_type": "clip"})
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", **config})
    write_json(tmp_path / "special_tokens_map.json", special)
    ours, texts = read_tokenizer(tmp_path), [*TEXTS[:600], "a <|ENDOFTEXT|> b", "a <|endoftext|>b"]
    assert differing(ours.encode(texts, 30), peer_ids(open_peer(tmp_path), texts, 30), texts) == []


def test_what_we_write_opens_in_transformers_with_the_same_ids(tmp_path):
    tokenizer = hf_clip_tokenizer()
    write_json(tmp_path / "config.json", {"model_type": "clip"})
    write_tokenizer(tokenizer, tmp_path, length=LENGTH, config={"model_type": "clip"})
    opened = open_peer(tmp_path)
    assert type(opened).__name__ == "CLIPTokenizer"
    assert opened.model_max_length == LENGTH
    expected = tokenizer.encode(TEXTS[:2000], LENGTH)
    assert differing(expected, peer_ids(opened, TEXTS[:2000], LENGTH), TEXTS[:2000]) == []
    assert read_tokenizer(tmp_path).pipeline == tokenizer.pipeline


def test_repairing_text_is_what_tells_the_two_apart():
    clean = [text for text in captions(500, special=False) if text.isascii() and "&" not in text]
    clean = [text for text in clean if text.isprintable()]
    ours, theirs = clip_tokenizer().encode(clean, LENGTH), hf_clip_tokenizer().encode(clean, LENGTH)
    padded = (ours == 0) & (np.cumsum(ours == 49407, axis=1) > 0)
    np.testing.assert_array_equal(np.where(padded, 49407, ours), theirs)
    for text in ("\ufb01ne", "&amp;"):
        first, second = clip_tokenizer().encode([text], 9), hf_clip_tokenizer().encode([text], 9)
        assert first[0, 1:3].tolist() != second[0, 1:3].tolist()
