"""Tokenizers in folders of transformers: which is chosen, what is written, what is refused."""

import json

import numpy as np
import pytest

from data_pipelines.tokens import (
    PipelineTokenizer,
    SiglipTokenizer,
    bert_tokenizer,
    clip_tokenizer,
    gemma_tokenizer,
    hf_clip_tokenizer,
    open_tokenizer,
    read_vocabulary,
)
from tests.hostile import captions
from tests.interop.tiny import tokenizer as tiny
from tests.models_of_text import GEMMA, WORDPIECES, unigram
from vlp.interop.card import TOKENIZER_FILES
from vlp.interop.hf.tokenizer_write import write_tokenizer
from vlp.interop.hf.tokenizers import read_tokenizer, tokenizer_class

LENGTH = 16
TEXTS = captions(300)


def written(tokenizer, folder, model_type):
    folder.mkdir()
    config = {"model_type": model_type}
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(tokenizer, folder, length=LENGTH, config=config)
    return json.loads((folder / "tokenizer_config.json").read_text())


@pytest.mark.parametrize(
    ("named", "model_type", "expected"),
    [
        (None, "clip", "CLIPTokenizer"),
        (None, "siglip", "SiglipTokenizer"),
        (None, "siglip2", "Siglip2Tokenizer"),
        (None, "bert", "BertTokenizer"),
        (None, "clip_text_model", "TokenizersBackend"),
        (None, "", "TokenizersBackend"),
        ("CLIPTokenizerFast", "siglip", "CLIPTokenizer"),
        ("GemmaTokenizerFast", "siglip", "GemmaTokenizer"),
        ("GemmaTokenizer", "siglip2", "Siglip2Tokenizer"),
        ("BertTokenizer", "vision-text-dual-encoder", "BertTokenizer"),
        ("PreTrainedTokenizerFast", "clip", "PreTrainedTokenizer"),
    ],
)
def test_the_class_is_chosen_as_in_transformers(named, model_type, expected):
    config = {"tokenizer_class": named} if named else {}
    assert tokenizer_class(config, {"model_type": model_type}) == expected
    # Older files name it in the model's configuration.
    assert tokenizer_class({}, {"model_type": model_type} | config) == expected


@pytest.mark.parametrize(
    ("made", "model_type", "named"),
    [
        (hf_clip_tokenizer, "clip", "CLIPTokenizer"),
        (lambda: hf_clip_tokenizer(pad_token="!"), "clip", "CLIPTokenizer"),
        (lambda: SiglipTokenizer(unigram()), "siglip", "SiglipTokenizer"),
        (lambda: SiglipTokenizer(unigram(), lower=False), "siglip", "SiglipTokenizer"),
        (lambda: gemma_tokenizer(*GEMMA), "siglip2", "Siglip2Tokenizer"),
        (lambda: gemma_tokenizer(*GEMMA, lower=False, begin=True), "siglip", "GemmaTokenizer"),
        (lambda: gemma_tokenizer(*GEMMA, padding_side="left"), "siglip", "Siglip2Tokenizer"),
        (lambda: bert_tokenizer(read_vocabulary(WORDPIECES)), "bert", "BertTokenizer"),
        (lambda: bert_tokenizer(read_vocabulary(WORDPIECES), end=False), "bert", None),
    ],
)
def test_what_is_written_reads_as_what_it_was(made, model_type, named, tmp_path):
    tokenizer = made()
    config = written(tokenizer, tmp_path / "hf", model_type)
    assert config["tokenizer_class"] == (named or "PreTrainedTokenizerFast")
    assert config["model_max_length"] == LENGTH
    read = read_tokenizer(tmp_path / "hf")
    assert read.settings == tokenizer.settings
    np.testing.assert_array_equal(read.encode(TEXTS, LENGTH), tokenizer.encode(TEXTS, LENGTH))


@pytest.mark.parametrize(
    "made",
    [
        hf_clip_tokenizer,
        clip_tokenizer,
        lambda: SiglipTokenizer(unigram(), special_tokens={"<x>": [False, True]},
                                added_tokens={"<x>": 7000}),
        lambda: gemma_tokenizer(*GEMMA, padding_side="left"),
        lambda: bert_tokenizer(read_vocabulary(WORDPIECES), end=False),
        tiny,
    ],
)  # fmt: skip
def test_a_run_keeps_a_tokenizer_of_every_kind_with_its_settings(made, tmp_path):
    tokenizer, texts = made(), [*TEXTS, "a <x> b", "<x><x>"]
    tokenizer.save(tmp_path / TOKENIZER_FILES[tokenizer.kind])
    again = open_tokenizer(
        tokenizer.kind,
        tmp_path / TOKENIZER_FILES[tokenizer.kind],
        name=tokenizer.name,
        **json.loads(json.dumps(tokenizer.settings)),  # as a card holds them
    )
    assert (again.sha256, again.vocab_size) == (tokenizer.sha256, tokenizer.vocab_size)
    np.testing.assert_array_equal(again.encode(texts, LENGTH), tokenizer.encode(texts, LENGTH))
    assert again.decode(again.encode(texts, LENGTH)) is not None


def test_tokens_of_older_folders_are_found_by_name_and_id(tmp_path):
    """As CLIP's tokenizer was saved before its added tokens stood in tokenizer_config.json."""
    written(hf_clip_tokenizer(), tmp_path / "clip", "clip")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "clip" / name).unlink()
    added = {"<cat-toy>": 49408, "mydog": 49409}
    (tmp_path / "clip" / "added_tokens.json").write_text(json.dumps(added))
    read = read_tokenizer(tmp_path / "clip")
    assert read.vocab_size == 49410
    ids = read.encode(["a <cat-toy> mydog", "MYDOG"], LENGTH)
    assert ids[0, 1:5].tolist() == [320, 49408, 49409, 49407] and ids[1, 1] == 49409
    (tmp_path / "clip" / "added_tokens.json").write_text(json.dumps({"<cat-toy>": 49500}))
    with pytest.raises(ValueError, match="'<cat-toy>' would be 49408 and not 49500, so the model"):
        read_tokenizer(tmp_path / "clip")


def test_our_own_tokenizer_keeps_special_tokens_plain(tmp_path):
    config = written(tiny(), tmp_path / "hf", "clip")
    assert config["split_special_tokens"] is True
    read = read_tokenizer(tmp_path / "hf")
    assert isinstance(read, PipelineTokenizer) and read.plain_special
    texts = ["a red <end of text> cat", "</s>", "the dog"]
    np.testing.assert_array_equal(read.encode(texts, LENGTH), tiny().encode(texts, LENGTH))


def test_files_of_version_4_lie_beside(tmp_path):
    written(hf_clip_tokenizer(), tmp_path / "clip", "clip")
    (tmp_path / "clip" / "tokenizer.json").unlink()
    slow = read_tokenizer(tmp_path / "clip")
    assert slow.pipeline == hf_clip_tokenizer().pipeline
    written(bert_tokenizer(read_vocabulary(WORDPIECES)), tmp_path / "bert", "bert")
    (tmp_path / "bert" / "tokenizer.json").unlink()
    slow = read_tokenizer(tmp_path / "bert")
    assert slow.pipeline == bert_tokenizer(read_vocabulary(WORDPIECES)).pipeline


def test_siglip_attends_to_its_padding(tmp_path):
    config = written(SiglipTokenizer(unigram()), tmp_path / "siglip", "siglip")
    assert config["model_input_names"] == ["input_ids"]
    config = written(hf_clip_tokenizer(), tmp_path / "clip", "clip")
    assert config["model_input_names"] == ["input_ids", "attention_mask"]


def test_a_folder_without_a_tokenizer_has_none(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    assert read_tokenizer(tmp_path) is None


def test_a_class_without_its_file_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": []}')
    with pytest.raises(ValueError, match="the tokenizer in .* needs spiece.model, found none"):
        read_tokenizer(tmp_path)


def test_damaged_files_are_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="tokenizer.json must be JSON"):
        read_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {}}')
    with pytest.raises(ValueError, match="must be as transformers writes it, but KeyError"):
        read_tokenizer(tmp_path)


def test_a_pipeline_must_say_how_it_pads(tmp_path):
    pipeline = hf_clip_tokenizer().pipeline
    (tmp_path / "tokenizer.json").write_text(json.dumps(pipeline))
    with pytest.raises(ValueError, match="must have a pad_token among its 49408 tokens, got ''"):
        read_tokenizer(tmp_path)


def test_what_transformers_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="transformers has no tokenizer like clip"):
        written(clip_tokenizer(), tmp_path / "a", "clip")
    with pytest.raises(ValueError, match="it takes Siglip2Tokenizer whatever a folder names"):
        written(hf_clip_tokenizer(), tmp_path / "b", "siglip2")
