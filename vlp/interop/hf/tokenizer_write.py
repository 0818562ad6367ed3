"""A tokenizer as a folder of transformers: for version 5, and for 4 with its slow tokenizers."""

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_pipelines.tokens import (
    PipelineTokenizer,
    SentencePieceTokenizer,
    SiglipTokenizer,
    Tokenizer,
)
from data_pipelines.tokens.convert import BOS, EOS, UNK
from vlp.files import write_json, write_text
from vlp.interop.hf.processors import processor_class
from vlp.interop.hf.tokenizers import FIXED, read_tokenizer

GENERIC = "PreTrainedTokenizerFast"
# SigLIP attends to its padding, so it must not get a mask.
_UNMASKED = ("siglip", "siglip2")


def write_tokenizer(
    tokenizer: Tokenizer, folder: str | Path, *, length: int, config: Mapping[str, Any]
) -> None:
    """Writes tokenizer.json and tokenizer_config.json, and what version 4 reads besides.

    Args:
        tokenizer: what to write.
        folder: where to; it exists.
        length: tokens in a row.
        config: content of the model's config.json.

    Raises:
        ValueError: transformers has no tokenizer that gives the same ids for such a model.
    """
    folder, model_type = Path(folder), config.get("model_type", "")
    for kind, write in _WRITERS.items():
        if isinstance(tokenizer, kind):
            settings = write(tokenizer, folder, length)
            break
    else:
        raise ValueError(
            f"transformers has no tokenizer like {tokenizer.name}, a {tokenizer.kind} tokenizer: "
            "what it does to text first cannot be written down there; give one of "
            f"{', '.join(kind.__name__ for kind in _WRITERS)}"
        )
    names = {key: value for key, value in settings.items() if key.endswith("_token")}
    write_json(folder / "special_tokens_map.json", names)
    settings |= _shared(tokenizer, length, model_type)
    write_json(folder / "tokenizer_config.json", settings)
    if _same(tokenizer, folder, config):
        return
    if settings["tokenizer_class"] != GENERIC and model_type not in FIXED:
        # Not quite what that class does: as a pipeline of its own.
        write_json(folder / "tokenizer_config.json", settings | {"tokenizer_class": GENERIC})
        if _same(tokenizer, folder, config):
            return
    raise ValueError(
        f"transformers must open a {model_type or 'model'} with a tokenizer that gives the ids of "
        f"{tokenizer.name}, and would not: for such models it takes "
        f"{FIXED.get(model_type, settings['tokenizer_class'])} whatever a folder names; export the "
        "image tower alone, or train with a tokenizer of that kind"
    )


def _same(tokenizer: Tokenizer, folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether the folder opens as the tokenizer that was written."""
    try:
        found = read_tokenizer(folder, config=config)
    except ValueError:  # the class that is taken for such models cannot even read it
        return False
    if isinstance(tokenizer, PipelineTokenizer) and isinstance(found, PipelineTokenizer):
        return (found.settings, found.pipeline) == (tokenizer.settings, tokenizer.pipeline)
    if isinstance(tokenizer, SiglipTokenizer) and isinstance(found, SiglipTokenizer):
        return found.sha256 == tokenizer.sha256
    is_plain = isinstance(found, PipelineTokenizer) and found.plain_special
    return isinstance(tokenizer, SentencePieceTokenizer) and is_plain


def _shared(tokenizer: Tokenizer, length: int, model_type: str) -> dict[str, Any]:
    processor = processor_class(model_type)
    return {
        **({"processor_class": processor} if processor else {}),
        "model_max_length": length,
        # What a processor does unless told otherwise: rows as long as in training.
        "padding": "max_length",
        "truncation": True,
        "max_length": length,
        "padding_side": getattr(tokenizer, "padding_side", "right"),
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids"]
        if model_type in _UNMASKED
        else ["input_ids", "attention_mask"],
    }


def _sentencepiece(tokenizer: SentencePieceTokenizer, folder: Path, length: int) -> dict[str, Any]:
    made = tokenizer.to_tokenizer_json(length)
    made.save(str(folder / "tokenizer.json"))
    return {
        "tokenizer_class": GENERIC,
        "pad_token": made.id_to_token(tokenizer.pad_id),
        "eos_token": EOS,
        "unk_token": UNK,
        **({"bos_token": BOS} if tokenizer.begin else {}),
        # "</s>" and the like are plain text in a caption.
        "split_special_tokens": True,
    }


def _siglip(tokenizer: SiglipTokenizer, folder: Path, length: int) -> dict[str, Any]:
    tokenizer.save(folder / "spiece.model")
    # transformers reads only that; transformers.js and FastEmbed read only this.
    with contextlib.suppress(ValueError):  # a model that no tokenizer.json can hold
        tokenizer.to_tokenizer_json(length).save(str(folder / "tokenizer.json"))
    tokens = {
        str(tokenizer.token_id(token)): {
            "content": token,
            "lstrip": left,
            "rstrip": right,
            "normalized": False,
            "single_word": False,
            "special": True,
        }
        for token, (left, right) in tokenizer.literal_tokens.items()
    }
    return {
        "tokenizer_class": "SiglipTokenizer",
        "pad_token": tokenizer.pad_token,
        "eos_token": tokenizer.eos_token,
        "unk_token": tokenizer.unk_token,
        "do_lower_case": tokenizer.lower,
        "sp_model_kwargs": {},
        "added_tokens_decoder": tokens,
    }


def _pipeline(tokenizer: PipelineTokenizer, folder: Path, length: int) -> dict[str, Any]:
    made = tokenizer.to_tokenizer_json(length)
    made.save(str(folder / "tokenizer.json"))
    content = json.loads(tokenizer.content)
    model = content["model"]
    settings: dict[str, Any] = {
        "tokenizer_class": GENERIC,
        "pad_token": made.id_to_token(tokenizer.pad_id),
        "eos_token": made.id_to_token(tokenizer.eos_id),
    }
    if model.get("unk_token"):
        settings["unk_token"] = model["unk_token"]
    if tokenizer.plain_special:
        settings["split_special_tokens"] = True
    elif model["type"] == "WordPiece":
        settings |= _bert(content, folder)
    elif model["type"] == "BPE" and model.get("end_of_word_suffix"):
        settings |= _clip(content, folder)
    elif model["type"] == "BPE" and model.get("byte_fallback"):
        lowers = "Lowercase" in json.dumps(content["normalizer"])
        settings["tokenizer_class"] = "Siglip2Tokenizer" if lowers else "GemmaTokenizer"
    elif model["type"] == "Unigram":
        settings |= {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}
    return settings


def _clip(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    model = content["model"]
    write_json(folder / "vocab.json", model["vocab"])
    merges = (m if isinstance(m, str) else " ".join(m) for m in model["merges"])
    text = "\n".join(["#version: 0.2", *merges]) + "\n"
    write_text(folder / "merges.txt", text)
    begin = (content["post_processor"] or {}).get("cls", ["<|startoftext|>"])[0]
    return {"tokenizer_class": "CLIPTokenizer", "bos_token": begin}


def _bert(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    pieces = sorted(content["model"]["vocab"].items(), key=lambda item: item[1])
    text = "".join(f"{piece}\n" for piece, _ in pieces)
    write_text(folder / "vocab.txt", text)
    parts = (content["post_processor"] or {}).get("single", [])
    special = [part["SpecialToken"]["id"] for part in parts if "SpecialToken" in part]
    rules = content["normalizer"] or {}
    return {
        "tokenizer_class": "BertTokenizer",
        "cls_token": special[0] if special else "[CLS]",
        "sep_token": special[-1] if special else "[SEP]",
        "mask_token": "[MASK]",
        "do_lower_case": rules.get("lowercase", True),
        "strip_accents": rules.get("strip_accents"),
        "tokenize_chinese_chars": rules.get("handle_chinese_chars", True),
    }


_WRITERS: dict[type, Callable[[Any, Path, int], dict[str, Any]]] = {
    SentencePieceTokenizer: _sentencepiece,
    SiglipTokenizer: _siglip,
    PipelineTokenizer: _pipeline,
}
