"""A folder or a file of open_clip: model, preprocessing and tokenizer, by open_clip_config.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlp.interop.adapt import complete
from vlp.interop.checks import understood
from vlp.interop.foreign import Foreign
from vlp.interop.open_clip import config as open_clip_config
from vlp.interop.open_clip.layout import CUSTOM, rules
from vlp.interop.open_clip.processing import OURS, open_tokenizer_of, read_preprocess
from vlp.interop.open_clip.resnet import COUNTER
from vlp.interop.weights import PICKLES, Tensors, find_weights, open_tensors, read_json_object

CONFIG = "open_clip_config.json"
_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    *(f"open_clip_pytorch_model{suffix}" for suffix in PICKLES),
    "model.safetensors",
    *(f"pytorch_model{suffix}" for suffix in PICKLES),
    "model.pth",
)
# Buffers of PyTorch and numbers that OpenAI's own files hold among the weights.
_BUFFERS = ("attn_mask", "position_ids", COUNTER)
_NUMBERS = ("input_resolution", "context_length", "vocab_size")


def open_path(path: Path, *, allow_pickle_weights: bool = False) -> Foreign:
    """What a folder with open_clip_config.json, or a file of weights beside one, holds.

    The weights may be those of `CLIP` or of `CustomTextCLIP`, whatever the config says: the names
    of tensors tell.

    Args:
        path: the folder, or the file.
        allow_pickle_weights: see `vlp.interop.weights.open_tensors`.

    Raises:
        ValueError: the architecture is not known, or a file is missing or damaged.
    """
    folder = path.parent if path.is_file() else path
    whole = read_json_object(folder / CONFIG)
    with understood(folder / CONFIG, stack="open_clip"):
        model_cfg = whole.get("model_cfg", whole)
        kwargs = open_clip_config.kwargs(model_cfg)
        full = complete(kwargs)
        size = kwargs["image"]["image_size"]
        preprocess = read_preprocess(whole.get("preprocess_cfg") or {}, size=size)
        kwargs |= dict(image_mean=list(preprocess.mean), image_std=list(preprocess.std))
        cleaned = (whole.get(OURS) or {}).get("clean")
        tokenizer, hint = open_tokenizer_of(model_cfg["text_cfg"], folder, cleaned=cleaned)
    weights = path if path.is_file() else find_weights(folder, _WEIGHTS)
    found = open_tensors(weights, allow_pickle_weights=allow_pickle_weights)
    return Foreign(
        stack="open_clip",
        architecture=_architecture(model_cfg),
        kwargs=kwargs,
        rules=rules(
            full,
            text=CUSTOM if f"{CUSTOM}token_embedding.weight" in found else "",
            trunk=open_clip_config.trunk(model_cfg),
            axes=len(found.shapes.get("logit_scale", ())),
        ),
        tensors=_without_buffers(found),
        preprocess=preprocess,
        tokenizer=tokenizer,
        objective="clip" if kwargs["init_bias"] is None else "siglip",
        tokenizer_hint=hint,
    )


def _architecture(model_cfg: Mapping[str, Any]) -> str:
    if model_cfg.get("multimodal_cfg") is not None:
        return "CoCa"
    return "CustomTextCLIP" if model_cfg.get("custom_text") else "CLIP"


def _without_buffers(tensors: Tensors) -> Tensors:
    def rename(name: str) -> str | None:
        return None if name.endswith(_BUFFERS) or name in _NUMBERS else name

    return tensors.renamed(rename)
