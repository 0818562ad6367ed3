"""What images and texts go through in open_clip: `preprocess_cfg` and the tokenizer's settings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_pipelines.images import ImagePreprocess
from data_pipelines.tokens import ClipTokenizer, PipelineTokenizer, Tokenizer, clip_tokenizer
from vlp.interop.checks import check_preprocess
from vlp.interop.hf.clip import MEAN, STD
from vlp.interop.hf.tokenizers import read_tokenizer

_SETTINGS = frozenset(("size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"))
_CLEANINGS = ("lower", "whitespace", "canonicalize")
_CLIP_VOCABULARY = 49408
OURS = "vlp"
"""A section of open_clip_config.json that open_clip does not look at."""


def read_preprocess(config: Mapping[str, Any], *, size: int) -> ImagePreprocess:
    """The evaluation transform of a `preprocess_cfg`.

    Args:
        config: the section.
        size: of the image tower, which open_clip uses whatever the section says.

    Raises:
        ValueError: a setting that is unknown or cannot be expressed here.
    """
    unknown = sorted(config.keys() - _SETTINGS)
    if unknown or config.get("mode", "RGB") != "RGB":
        raise ValueError(
            f"preprocess_cfg may hold {', '.join(sorted(_SETTINGS))} with mode RGB, got "
            f"{dict(config)}; restore it from where the weights came"
        )
    interpolation = config.get("interpolation") or "bicubic"
    fill = config.get("fill_color") or 0
    return ImagePreprocess(
        size,
        resize=config.get("resize_mode") or "shortest",
        interpolation="bilinear" if interpolation == "bilinear" else "bicubic",
        rounding="even",
        fill=(fill,) * 3,
        mean=_channels(config.get("mean") or MEAN),
        std=_channels(config.get("std") or STD),
    )


def write_preprocess(ours: ImagePreprocess) -> dict[str, Any]:
    """`read_preprocess`, backwards, but for the rounding of centres, which there is always "even".

    Raises:
        ValueError: open_clip has no such transform; names the setting.
    """
    ours = ours.portable
    wanted: dict[str, tuple[Any, ...]] = {
        "resize_size": (ours.size,),
        "interpolation": ("bicubic", "bilinear"),
    }
    if ours.resize == "longest":
        wanted["fill"] = ((ours.fill[0],) * 3,)
    check_preprocess(ours, wanted, stack="open_clip")
    return {
        "size": ours.size,
        "mode": "RGB",
        "mean": list(ours.mean),
        "std": list(ours.std),
        "interpolation": ours.interpolation,
        "resize_mode": ours.resize,
        "fill_color": ours.fill[0] if ours.resize == "longest" else 0,
    }


def open_tokenizer_of(
    text_cfg: Mapping[str, Any], folder: Path, *, cleaned: str | None
) -> tuple[Tokenizer | None, str]:
    """The tokenizer of a `text_cfg`, or None and why.

    Args:
        text_cfg: the section.
        folder: with the files of a tokenizer of transformers, where the section names one.
        cleaned: the cleaning that an export of ours had, where open_clip has no name for it.

    Raises:
        ValueError: damaged files.
    """
    settings = dict(text_cfg.get("tokenizer_kwargs") or {})
    clean = settings.pop("clean", None)
    strip = settings.pop("strip_sep_token", False)
    mode, name = text_cfg.get("tokenizer_mode"), text_cfg.get("hf_tokenizer_name")
    if mode or settings:
        return None, f"tokenizer_mode={mode!r} with tokenizer_kwargs {settings} is unknown here"
    if not name:
        own = text_cfg.get("vocab_size", _CLIP_VOCABULARY) == _CLIP_VOCABULARY
        return clip_tokenizer(clean=clean or "lower") if own else None, ""
    found = read_tokenizer(folder)
    if found is None or cleaned is not None:
        return found, f"the config names {name}"
    if not isinstance(found, PipelineTokenizer):
        return None, f"open_clip's cleaning needs a tokenizer.json, found {type(found).__name__}"
    return _cleaned(found, clean=clean or "whitespace", strip=strip), ""


def tokenizer_settings(tokenizer: Tokenizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a `text_cfg` for a tokenizer, and what open_clip has no words for."""
    if isinstance(tokenizer, ClipTokenizer) and tokenizer.pad_id == 0:
        return {"tokenizer_kwargs": {"clean": tokenizer.clean}}, {}
    clean = getattr(tokenizer, "clean", "none")
    named = clean if clean in _CLEANINGS else "whitespace"
    settings = {"hf_tokenizer_name": tokenizer.name, "tokenizer_kwargs": {"clean": named}}
    return settings, {} if clean == named else {"clean": clean}


def _cleaned(found: PipelineTokenizer, *, clean: str, strip: bool) -> PipelineTokenizer:
    settings = {**found.settings, "clean": clean}
    content = found.content
    if strip:
        content = _without_end(found)
        settings["eos_id"] = found.pad_id
    return PipelineTokenizer(content, name=found.name, **settings)


def _without_end(found: PipelineTokenizer) -> bytes:
    """The file with padding where a text's end token was, as CLIPA was trained.

    A literal "[SEP]" in a caption stays what it is, where open_clip writes padding as well.
    """
    pipeline = json.loads(found.content)
    template = pipeline.get("post_processor") or {}
    names = {token["id"]: token["content"] for token in pipeline["added_tokens"]}
    if found.pad_id != 0 or template.get("type") != "TemplateProcessing":
        raise ValueError(
            "strip_sep_token needs a tokenizer of BERT that pads with 0, got "
            f"{found.name}; give another tokenizer"
        )
    end, pad = names[found.eos_id], names[found.pad_id]
    for part in template["single"]:
        if part.get("SpecialToken", {}).get("id") == end:
            part["SpecialToken"]["id"] = pad
    template["special_tokens"][pad] = {"id": pad, "ids": [found.pad_id], "tokens": [pad]}
    return json.dumps(pipeline, ensure_ascii=False).encode()


def _channels(value: Any) -> tuple[float, ...]:
    return (value,) * 3 if isinstance(value, int | float) else tuple(value)
