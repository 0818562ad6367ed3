"""The tokenizer in a folder of transformers: which one it is, and its ids without transformers.

The choice is that of `AutoTokenizer` in transformers 5: the class that tokenizer_config.json (else
config.json) names, for `siglip2` always `Siglip2Tokenizer`, without a name the class of the model's
type. CLIP's, BERT's, Gemma's and T5's classes rebuild their pipeline around the vocabulary, so
what a `tokenizer.json` says about normalisation holds for no class but the generic one, which all
unknown names mean.
"""

import base64
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers

from data_pipelines.tokens import (
    PipelineTokenizer,
    SiglipTokenizer,
    Tokenizer,
    bert_tokenizer,
    gemma_tokenizer,
    hf_clip_tokenizer,
    read_vocabulary,
    t5_tokenizer,
)
from data_pipelines.tokens.pipeline import special_tokens
from data_pipelines.tokens.spiece import read_model
from vlp.interop.checks import understood
from vlp.interop.hf.tokenizer_folder import TokenizerFolder

_NAME = "tokenizer"  # what reports call it
FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
# The class of a model's type, where no file names one.
_OF_TYPE = {
    "clip": "CLIPTokenizer",
    "siglip": "SiglipTokenizer",
    "bert": "BertTokenizer",
    "blip": "BertTokenizer",
    "blip-2": "BertTokenizer",
}
# Types whose published tokenizer_config.json name a wrong class: transformers takes this one.
FIXED = {"siglip2": "Siglip2Tokenizer"}
_T5_EXTRA = 100  # sentinels, where tokenizer_config.json is silent
_END = "<|endoftext|>"
_CLIP = {"bos_token": "<|startoftext|>", "eos_token": _END, "unk_token": _END, "pad_token": _END}
_SIGLIP = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
_T5 = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_GEMMA = {f"{role}_token": f"<{role}>" for role in ("bos", "eos", "unk", "pad", "mask")}
_BERT = {f"{role}_token": f"[{role.upper()}]" for role in ("unk", "sep", "pad", "cls", "mask")}


def read_tokenizer(
    folder: str | Path, *, config: Mapping[str, Any] | None = None
) -> Tokenizer | None:
    """The tokenizer that transformers 5 would open a folder with; None where there is none.

    Args:
        folder: with some of tokenizer.json, tokenizer_config.json, special_tokens_map.json,
            vocab.json and merges.txt, vocab.txt, spiece.model, config.json.
        config: content of config.json, where the folder's own does not hold.

    Raises:
        ValueError: the files of the chosen class are missing, damaged or contradict each other.
    """
    folder = Path(folder)
    if not any((folder / file).is_file() for file in FILES):
        return None
    with understood(f"the tokenizer in {folder}", stack="transformers"):
        files = TokenizerFolder(folder, config)
        build = _CLASSES.get(tokenizer_class(files.config, files.model), _generic)
        tokenizer = build(files)
        _check_ids(tokenizer, files)
        return tokenizer


def tokenizer_class(config: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """The name of the class, without "Fast", from tokenizer_config.json and config.json."""
    model_type = model.get("model_type", "")
    named = config.get("tokenizer_class") or model.get("tokenizer_class")
    if not named or model_type in FIXED:
        return FIXED.get(model_type) or _OF_TYPE.get(model_type, "TokenizersBackend")
    return named.removesuffix("Fast")


def _clip(files: TokenizerFolder) -> Tokenizer:
    return hf_clip_tokenizer(
        files.vocabulary("vocab.json"),
        files.merges(),
        name=_NAME,
        pad_token=files.names(_CLIP)["pad_token"],
        padding_side=files.side(),
        special=files.special(_CLIP),
    )


def _siglip(files: TokenizerFolder) -> Tokenizer:
    model = files.bytes("spiece.model")
    return SiglipTokenizer(
        model,
        name=_NAME,
        added_tokens=_beside_pieces(files, read_model(model, _NAME)),
        lower=files.config.get("do_lower_case", True),
        special_tokens={token.content: [token.lstrip, token.rstrip] for token in files.flagged()},
        padding_side=files.side(),
        **files.names(_SIGLIP),
    )


def _beside_pieces(files: TokenizerFolder, pieces: Any) -> dict[str, int]:
    """The ids of tokens that are no pieces: those of the files, else the next that are free."""
    added: dict[str, int] = {}
    for token in (token.content for token in files.flagged()):
        if pieces.id_to_piece(pieces.piece_to_id(token)) != token:
            free = max([pieces.vocab_size(), *(number + 1 for number in added.values())])
            added[token] = files.ids.get(token, free)
    return added


def _gemma(files: TokenizerFolder, *, lower: bool = False) -> Tokenizer:
    files.bytes("tokenizer.json")
    names = files.names(_GEMMA)
    before, after = _frame(files.pipeline.get("post_processor"))
    return gemma_tokenizer(
        files.vocabulary(),
        files.merges(),
        name=_NAME,
        lower=lower,
        begin=names["bos_token"] in before,
        end=names["eos_token"] in after,
        **files.settings(_GEMMA, side="left"),
    )


def _bert(files: TokenizerFolder) -> Tokenizer:
    if files.pipeline:
        vocabulary = files.vocabulary()
    else:
        vocabulary = read_vocabulary(files.bytes("vocab.txt"))
    return bert_tokenizer(
        vocabulary,
        name=_NAME,
        lower=files.config.get("do_lower_case", True),
        strip_accents=files.config.get("strip_accents"),
        chinese_characters=files.config.get("tokenize_chinese_chars", True),
        **files.settings(_BERT),
    )


def _t5(files: TokenizerFolder) -> Tokenizer:
    files.bytes("tokenizer.json")
    normaliser = files.pipeline.get("normalizer") or {}
    steps = normaliser.get("normalizers", [normaliser])
    rules = [s["precompiled_charsmap"] for s in steps if s.get("type") == "Precompiled"]
    sentinels = (f"<extra_id_{i}>" for i in range(files.config.get("extra_ids", _T5_EXTRA)))
    return t5_tokenizer(
        [(piece, score) for piece, score in files.vocabulary()],
        rules=base64.b64decode(rules[0]) if rules else None,
        name=_NAME,
        padding_side=files.side(),
        special=special_tokens(*sentinels, given=files.special(_T5)),
        **files.names(_T5),
    )


def _generic(files: TokenizerFolder) -> Tokenizer:
    """The pipeline in tokenizer.json as it is, with tokens that other files add."""
    content = files.bytes("tokenizer.json")
    ids = _token_ids(files.pipeline)
    missing = [token for token in files.special({}) if token.content not in ids]
    if missing:
        made = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
        made.add_tokens(missing)
        content = made.to_str().encode()
        ids = _token_ids(json.loads(content))
    padding = files.pipeline.get("padding") or {}
    names = files.names(
        {"eos_token": "", "sep_token": "", "pad_token": padding.get("pad_token", "")}
    )
    pad, eos = names["pad_token"], names["eos_token"] or names["sep_token"]
    for role, token in (("pad_token", pad), ("eos_token or sep_token", eos)):
        if token not in ids:
            raise ValueError(
                f"the tokenizer in {files.folder} must have a {role} among its {len(ids)} tokens, "
                f"got {token!r}; name it in tokenizer_config.json"
            )
    return PipelineTokenizer(
        content,
        name=_NAME,
        pad_id=ids[pad],
        eos_id=ids[eos],
        padding_side=files.side(),
        plain_special=bool(files.config.get("split_special_tokens", False)),
    )


_CLASSES: dict[str, Callable[[TokenizerFolder], Tokenizer]] = {
    "CLIPTokenizer": _clip,
    "SiglipTokenizer": _siglip,
    "GemmaTokenizer": _gemma,
    "Siglip2Tokenizer": partial(_gemma, lower=True),
    "BertTokenizer": _bert,
    "T5Tokenizer": _t5,
}


def _check_ids(tokenizer: Tokenizer, files: TokenizerFolder) -> None:
    """Raises ValueError where an added token has another id than the files give it."""
    if not isinstance(tokenizer, PipelineTokenizer):
        return  # its tokens are pieces of its own file
    made = _token_ids(tokenizer.pipeline)
    wrong = [token for token, number in files.ids.items() if made.get(token) != number]
    if wrong:
        raise ValueError(
            f"the tokens added in {files.folder} must follow on the vocabulary, but "
            f"{wrong[0]!r} would be {made.get(wrong[0])} and not {files.ids[wrong[0]]}, so the "
            "model would read another word; restore the tokenizer's files from where it came"
        )


def _token_ids(pipeline: Mapping[str, Any]) -> dict[str, int]:
    vocabulary = pipeline["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {piece[0]: i for i, piece in enumerate(vocabulary)}
    return vocabulary | {token["content"]: token["id"] for token in pipeline["added_tokens"]}


def _frame(processor: Mapping[str, Any] | None) -> tuple[set[str], set[str]]:
    """The special tokens that a template puts before and behind a text."""
    parts = (processor or {}).get("single", [])
    place = next((i for i, part in enumerate(parts) if "Sequence" in part), 0)
    names = [part["SpecialToken"]["id"] if "SpecialToken" in part else "" for part in parts]
    return set(names[:place]), set(names[place + 1 :])
