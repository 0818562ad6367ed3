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
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

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
from data_pipelines.tokens.clip import read_merges
from data_pipelines.tokens.pipeline import special_tokens

FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
# The class of a model's type, where no file names one.
_OF_TYPE = {
    "clip": "CLIPTokenizer",
    "siglip": "SiglipTokenizer",
    "bert": "BertTokenizer",
}
# Types whose published tokenizer_config.json name a wrong class: transformers takes this one.
FIXED = {"siglip2": "Siglip2Tokenizer"}
_T5_EXTRA = 100  # sentinels, where tokenizer_config.json is silent
_NAMED = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


def read_tokenizer(
    folder: str | Path, *, name: str = "tokenizer", config: Mapping[str, Any] | None = None
) -> Tokenizer | None:
    """The tokenizer that transformers 5 would open a folder with; None where there is none.

    Args:
        folder: with some of tokenizer.json, tokenizer_config.json, special_tokens_map.json,
            vocab.json and merges.txt, vocab.txt, spiece.model, config.json.
        name: what reports call the tokenizer.
        config: content of config.json, where the folder's own does not hold.

    Raises:
        ValueError: the files of the chosen class are missing, damaged or contradict each other.
    """
    folder = Path(folder)
    if not any((folder / file).is_file() for file in FILES):
        return None
    files = _Files(folder, config)
    build = _CLASSES.get(tokenizer_class(files.config, files.model), _generic)
    try:
        return build(files, name)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the tokenizer in {folder} must be as transformers writes it, got "
            f"{type(error).__name__}: {error}; save it again with save_pretrained"
        ) from error


def tokenizer_class(config: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """The name of the class, without "Fast", from tokenizer_config.json and config.json."""
    model_type = model.get("model_type", "")
    named = config.get("tokenizer_class") or model.get("tokenizer_class")
    if not named or model_type in FIXED:
        return FIXED.get(model_type) or _OF_TYPE.get(model_type, "TokenizersBackend")
    return named.removesuffix("Fast")


class _Files:
    """The JSON files of a folder, and the special tokens that they tell of."""

    def __init__(self, folder: Path, model: Mapping[str, Any] | None) -> None:
        self.folder = folder
        self.config = self.json("tokenizer_config.json")
        self.model = self.json("config.json") if model is None else model
        self.pipeline = self.json("tokenizer.json")
        self.names = {key: value for key, value in self.config.items() if key.endswith("_token")}
        decoder = self.config.get("added_tokens_decoder")
        if decoder is None:
            self.names |= self.json("special_tokens_map.json")
            decoder = {token.pop("id"): token for token in self._listed()}
        self.special = [_added(decoder[key]) for key in sorted(decoder, key=int)]
        listed = {token.content for token in self.special}
        more = [self.names[key] for key in _NAMED if isinstance(self.names.get(key), dict)]
        more += self.config.get("additional_special_tokens") or ()
        more += self.config.get("extra_special_tokens") or ()
        self.special += [_added(token) for token in more if _content(token) not in listed]

    def _listed(self) -> list[dict[str, Any]]:
        return [dict(token) for token in self.pipeline.get("added_tokens", ())]

    def json(self, file: str) -> dict[str, Any]:
        """The content of a JSON file, empty if it is not there."""
        path = self.folder / file
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{path} must be JSON, got {error}; copy it again") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path} must be a JSON object, got {type(content).__name__}")
        return content

    def bytes(self, file: str) -> bytes:
        """The content of a file that the class needs."""
        path = self.folder / file
        if not path.is_file():
            raise ValueError(
                f"a {tokenizer_class(self.config, self.model)} needs {file}, found none in "
                f"{self.folder}; copy it from where the model was published"
            )
        return path.read_bytes()

    def token(self, key: str, default: str) -> str:
        """The name of a special token."""
        return _content(self.names.get(key) or default)

    def side(self, default: str = "right") -> str:
        """Where padding goes."""
        padding = self.pipeline.get("padding") or {}
        return self.config.get("padding_side") or padding.get("direction", default).lower()

    def pairs(self) -> list[tuple[str, str]]:
        """The merges of a byte-pair encoding, from either file."""
        if not self.pipeline:
            return read_merges(self.bytes("merges.txt"), "merges.txt")
        merges = self.pipeline["model"]["merges"]
        pairs = (m.split(" ") if isinstance(m, str) else m for m in merges)
        return [(first, second) for first, second in pairs]

    def vocabulary(self, file: str = "") -> Any:
        """The vocabulary in tokenizer.json, else in `file`."""
        if self.pipeline:
            return self.pipeline["model"]["vocab"]
        return json.loads(self.bytes(file))


def _clip(files: _Files, name: str) -> Tokenizer:
    return hf_clip_tokenizer(
        files.vocabulary("vocab.json"),
        files.pairs(),
        name=name,
        pad_token=files.token("pad_token", "<|endoftext|>"),
        padding_side=files.side(),
        special=files.special,
    )


def _siglip(files: _Files, name: str) -> Tokenizer:
    tokens = {token.content: [token.lstrip, token.rstrip] for token in files.special}
    return SiglipTokenizer(
        files.bytes("spiece.model"),
        name=name,
        lower=files.config.get("do_lower_case", True),
        eos_token=files.token("eos_token", "</s>"),
        pad_token=files.token("pad_token", "</s>"),
        unk_token=files.token("unk_token", "<unk>"),
        special_tokens=tokens,
        padding_side=files.side(),
    )


def _gemma(files: _Files, name: str, *, lower: bool = False) -> Tokenizer:
    files.bytes("tokenizer.json")
    bos, eos = files.token("bos_token", "<bos>"), files.token("eos_token", "<eos>")
    before, after = _frame(files.pipeline.get("post_processor"))
    return gemma_tokenizer(
        files.vocabulary(),
        files.pairs(),
        name=name,
        lower=lower,
        begin=bos in before,
        end=eos in after,
        bos_token=bos,
        eos_token=eos,
        pad_token=files.token("pad_token", "<pad>"),
        unk_token=files.token("unk_token", "<unk>"),
        mask_token=files.token("mask_token", "<mask>"),
        padding_side=files.side("left"),
        special=files.special,
    )


def _siglip2(files: _Files, name: str) -> Tokenizer:
    return _gemma(files, name, lower=True)


def _bert(files: _Files, name: str) -> Tokenizer:
    vocabulary = files.vocabulary() if files.pipeline else read_vocabulary(files.bytes("vocab.txt"))
    names: dict[str, Any] = {
        key: files.token(key, f"[{key.removesuffix('_token').upper()}]")
        for key in ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")
    }
    return bert_tokenizer(
        vocabulary,
        name=name,
        lower=files.config.get("do_lower_case", True),
        strip_accents=files.config.get("strip_accents"),
        chinese_characters=files.config.get("tokenize_chinese_chars", True),
        padding_side=files.side(),
        special=files.special,
        **names,
    )


def _t5(files: _Files, name: str) -> Tokenizer:
    files.bytes("tokenizer.json")
    normaliser = files.pipeline.get("normalizer") or {}
    steps = normaliser.get("normalizers", [normaliser])
    count = files.config.get("extra_ids", _T5_EXTRA)
    extra = special_tokens(*(f"<extra_id_{i}>" for i in range(count)))
    rules = [s["precompiled_charsmap"] for s in steps if s.get("type") == "Precompiled"]
    return t5_tokenizer(
        [(piece, score) for piece, score in files.vocabulary()],
        rules=base64.b64decode(rules[0]) if rules else None,
        name=name,
        eos_token=files.token("eos_token", "</s>"),
        pad_token=files.token("pad_token", "<pad>"),
        unk_token=files.token("unk_token", "<unk>"),
        padding_side=files.side(),
        special=[*files.special, *extra],
    )


def _generic(files: _Files, name: str) -> Tokenizer:
    """The pipeline in tokenizer.json as it is."""
    content = files.bytes("tokenizer.json")
    ids = _token_ids(files.pipeline)
    padding = files.pipeline.get("padding") or {}
    pad, eos = files.token("pad_token", padding.get("pad_token", "")), files.token("eos_token", "")
    eos = eos or files.token("sep_token", "")
    for role, token in (("pad_token", pad), ("eos_token or sep_token", eos)):
        if token not in ids:
            raise ValueError(
                f"the tokenizer in {files.folder} must have a {role} among its {len(ids)} tokens, "
                f"got {token!r}; name it in tokenizer_config.json"
            )
    return PipelineTokenizer(
        content,
        name=name,
        pad_id=ids[pad],
        eos_id=ids[eos],
        padding_side=files.side(),
        plain_special=bool(files.config.get("split_special_tokens", False)),
    )


_CLASSES: dict[str, Callable[[_Files, str], Tokenizer]] = {
    "CLIPTokenizer": _clip,
    "SiglipTokenizer": _siglip,
    "GemmaTokenizer": _gemma,
    "Siglip2Tokenizer": _siglip2,
    "BertTokenizer": _bert,
    "T5Tokenizer": _t5,
}


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


def _content(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else token["content"]


def _added(token: str | Mapping[str, Any]) -> AddedToken:
    if isinstance(token, str):
        return AddedToken(token, special=True, normalized=False)
    flags = {key: value for key, value in token.items() if key not in ("__type", "content")}
    return AddedToken(token["content"], **({"special": True} | flags))
