"""SigLIP's tokenizers against transformers' and open_clip's on ten thousand hostile captions."""

import json
import warnings

import pytest
import transformers
from open_clip.tokenizer import HFTokenizer

from data_pipelines.tokens import PipelineTokenizer, SiglipTokenizer, gemma_tokenizer
from tests.hostile import captions
from tests.peers.tokenizing import (
    LENGTH,
    differing,
    gemma_bpe,
    open_peer,
    peer_ids,
    sentencepiece_model,
    write_json,
)
from vlp.interop.hf.tokenizer_write import write_tokenizer
from vlp.interop.hf.tokenizers import read_tokenizer

TEXTS = captions(10_000)


@pytest.fixture(scope="module")
def model():
    return sentencepiece_model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """spiece.model and the configuration, as published SigLIP checkpoints bring them."""
    path = tmp_path_factory.mktemp("siglip")
    (path / "spiece.model").write_bytes(model)
    write_json(path / "config.json", {"model_type": "siglip"})
    flags = {"lstrip": True, "rstrip": True, "normalized": False, "special": True}
    decoder = {"1": {"content": "</s>"} | flags, "2": {"content": "<unk>"} | flags}
    write_json(
        path / "tokenizer_config.json",
        {
            "tokenizer_class": "SiglipTokenizer",
            "added_tokens_decoder": decoder,
            "eos_token": "</s>",
            "pad_token": "</s>",
            "unk_token": "<unk>",
            "do_lower_case": True,
            "model_max_length": 64,
            "sp_model_kwargs": {},
        },
    )
    return path


@pytest.fixture(scope="module")
def siglip2(tmp_path_factory):
    """A folder that transformers saved, and its tokenizer."""
    path = tmp_path_factory.mktemp("siglip2")
    vocabulary, merges = gemma_bpe()
    made = transformers.Siglip2Tokenizer(
        vocab=vocabulary, merges=merges, add_eos_token=True, padding_side="right"
    )
    made.save_pretrained(path)
    write_json(path / "config.json", {"model_type": "siglip2"})
    return path


def slow_ids(peer, texts):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of captions that end in "</s>"
        return peer_ids(peer, texts)


def test_ids_are_those_of_siglip_tokenizer(folder):
    ours = read_tokenizer(folder)
    assert isinstance(ours, SiglipTokenizer)
    assert (ours.pad_id, ours.eos_id) == (1, 1)
    theirs = slow_ids(open_peer(folder), TEXTS)
    assert differing(ours.encode(TEXTS, LENGTH), theirs, TEXTS) == []


def test_without_a_configuration_the_class_of_the_type_holds(model, tmp_path):
    (tmp_path / "spiece.model").write_bytes(model)
    write_json(tmp_path / "config.json", {"model_type": "siglip"})
    texts = TEXTS[:2000]
    ours = read_tokenizer(tmp_path).encode(texts, LENGTH)
    assert differing(ours, slow_ids(open_peer(tmp_path), texts), texts) == []


def test_special_tokens_that_keep_their_spaces_are_read(folder, tmp_path):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"]["1"] |= {"lstrip": False, "rstrip": False}
    config |= {"do_lower_case": False}
    (tmp_path / "spiece.model").write_bytes((folder / "spiece.model").read_bytes())
    write_json(tmp_path / "config.json", {"model_type": "siglip"})
    write_json(tmp_path / "tokenizer_config.json", config)
    texts = TEXTS[:3000]
    ours = read_tokenizer(tmp_path).encode(texts, LENGTH)
    assert differing(ours, slow_ids(open_peer(tmp_path), texts), texts) == []


def test_a_written_siglip_tokenizer_opens_with_the_same_ids(folder, tmp_path):
    tokenizer, texts = read_tokenizer(folder), TEXTS[:2000]
    write_json(tmp_path / "config.json", {"model_type": "siglip"})
    write_tokenizer(tokenizer, tmp_path, length=LENGTH, config={"model_type": "siglip"})
    opened = open_peer(tmp_path)
    assert type(opened).__name__ == "SiglipTokenizer"
    assert opened.model_input_names == ["input_ids"]
    assert differing(tokenizer.encode(texts, LENGTH), slow_ids(opened, texts), texts) == []


def test_ids_are_those_of_siglip2_tokenizer(siglip2):
    peer, ours = open_peer(siglip2), read_tokenizer(siglip2)
    assert type(peer).__name__ == "Siglip2Tokenizer"
    assert (ours.pad_id, ours.eos_id, ours.padding_side) == (0, 1, "right")
    assert differing(ours.encode(TEXTS, LENGTH), peer_ids(peer, TEXTS), TEXTS) == []


def test_a_fixed_resolution_folder_names_gemma_and_keeps_capitals(siglip2, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((siglip2 / "tokenizer.json").read_bytes())
    config = json.loads((siglip2 / "tokenizer_config.json").read_text())
    write_json(tmp_path / "config.json", {"model_type": "siglip"})
    named = config | {"tokenizer_class": "GemmaTokenizerFast"}
    write_json(tmp_path / "tokenizer_config.json", named)
    peer, ours = open_peer(tmp_path), read_tokenizer(tmp_path)
    assert type(peer).__name__ == "GemmaTokenizer"
    texts = TEXTS[:3000]
    assert differing(ours.encode(texts, LENGTH), peer_ids(peer, texts), texts) == []
    capital, small = ours.encode(["A CAT", "a cat"], 12)
    assert capital.tolist() != small.tolist()


@pytest.mark.parametrize("side", [None, "left"])
def test_padding_on_the_left_is_read(siglip2, tmp_path, side):
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).write_bytes((siglip2 / name).read_bytes())
    config = {"tokenizer_class": "Siglip2Tokenizer", "padding_side": side}
    write_json(tmp_path / "tokenizer_config.json", {k: v for k, v in config.items() if v})
    ours, texts = read_tokenizer(tmp_path), TEXTS[:300]
    assert ours.padding_side == "left"
    theirs = peer_ids(open_peer(tmp_path), texts)
    assert differing(ours.encode(texts, LENGTH), theirs, texts) == []


@pytest.mark.parametrize(
    ("model_type", "lower", "expected"),
    [("siglip2", True, "Siglip2Tokenizer"), ("siglip", False, "GemmaTokenizer")],
)
def test_a_written_gemma_tokenizer_opens_with_the_same_ids(tmp_path, model_type, lower, expected):
    vocabulary, merges = gemma_bpe()
    tokenizer = gemma_tokenizer(vocabulary, merges, lower=lower)
    write_json(tmp_path / "config.json", {"model_type": model_type})
    write_tokenizer(tokenizer, tmp_path, length=LENGTH, config={"model_type": model_type})
    opened, texts = open_peer(tmp_path), TEXTS[:2000]
    assert type(opened).__name__ == expected
    assert differing(tokenizer.encode(texts, LENGTH), peer_ids(opened, texts), texts) == []


def test_ids_are_those_of_open_clip_for_its_siglip_models(model, tmp_path):
    # open_clip reads captions with T5's tokenizer behind a cleaning of its own.
    (tmp_path / "spiece.model").write_bytes(model)
    made = transformers.T5Tokenizer.from_pretrained(tmp_path, extra_ids=0, pad_token="</s>")
    saved = tmp_path / "saved"
    made.save_pretrained(saved)
    peer = HFTokenizer(str(saved), context_length=LENGTH, clean="canonicalize")
    read = read_tokenizer(saved)
    settings = read.settings | {"clean": "canonicalize"}
    ours = PipelineTokenizer(read.content, name="siglip", **settings)
    assert differing(ours.encode(TEXTS, LENGTH), peer(TEXTS).numpy(), TEXTS) == []
