"""`CLIPModel` and its towers: config.json, our keyword arguments, and the names of tensors."""

import math
from collections.abc import Mapping
from typing import Any

from vlp.interop.adapt import plain_vit
from vlp.interop.hf.names import (
    IMAGE,
    TEXT,
    clip_image,
    clip_text,
    tower_config,
    tower_kwargs,
    vision_config,
)
from vlp.interop.layout import Rule, linear, same
from vlp.interop.surplus import without_places

NAME = "CLIPModel"
OBJECTIVE = "clip"
# What the classes assume where a config says nothing: the sizes of ViT-B/32.
_TEXT = dict(
    vocab_size=49408, hidden_size=512, intermediate_size=2048, num_hidden_layers=12,
    num_attention_heads=8, max_position_embeddings=77, hidden_act="quick_gelu",
    layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=49406, eos_token_id=49407, projection_dim=512,
)  # fmt: skip
_VISION = dict(
    hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
    image_size=224, patch_size=32, hidden_act="quick_gelu", layer_norm_eps=1e-5, num_channels=3,
    projection_dim=512,
)  # fmt: skip
# transformers takes this id for "the true one is unknown" and pools at the largest id instead.
_LEGACY_EOS = 2
_PROJECTIONS = frozenset(("visual_projection.weight", "text_projection.weight"))
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def accepted(kwargs: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What the classes can hold, see `vlp.interop.adapt`."""
    values = ("linear",) if kwargs["image"] and kwargs["text"] else ("linear", "none")
    return {
        **plain_vit(pre_norm=(True,), patch_bias=(False,)),
        "text.kind": ("transformer",),
        "text.causal": (True,),
        "text.pool": ("eot", "argmax"),
        "text.layer_scale": (None,),
        **{name: values for name in ("image_projection", "text_projection")},
        "init_bias": (None,),
    }


def kwargs(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `DualEncoder` for a config of `CLIPModel` or of one of its towers."""
    kind = config.get("model_type", "clip")
    vision, text = _section(config, "vision", _VISION), _section(config, "text", _TEXT)
    alone = text if "text" in kind else vision
    # A tower alone may have been saved without its projection.
    projected = kind == "clip" or not _PROJECTIONS.isdisjoint(tensors)
    projection = "linear" if projected else "none"
    return dict(
        image=None
        if "text" in kind
        else dict(**tower_kwargs(vision, **IMAGE), pool="cls", pre_norm=True, patch_bias=False),
        text=None if "vision" in kind else _text_kwargs(text),
        embed_dim=config.get("projection_dim", 512) if projected else alone["hidden_size"],
        image_projection=projection,
        text_projection=projection,
        image_mean=list(MEAN),
        image_std=list(STD),
        init_scale=math.exp(config.get("logit_scale_init_value", 2.6592)),
    )


def _section(config: Mapping[str, Any], tower: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a tower: for transformers what older files repeat in a `_dict` counts more,
    with every default."""
    alone = config if tower in config.get("model_type", "clip") else {}
    section = {**defaults, **(config.get(f"{tower}_config") or alone)}
    older = config.get(f"{tower}_config_dict")
    return section if older is None else {**section, **defaults, **older}


def _text_kwargs(config: Mapping[str, Any]) -> dict[str, Any]:
    eos = config["eos_token_id"]
    return dict(
        **tower_kwargs(config, **TEXT),
        causal=True,
        pool="argmax" if eos == _LEGACY_EOS else "eot",
        eos_id=config["vocab_size"] - 1 if eos == _LEGACY_EOS else eos,
        pad_id=config["pad_token_id"],
    )


def config(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """`config.json` for complete keyword arguments; for one tower where the other is None.

    Raises:
        ValueError: the end token is the one that means another rule there.
    """
    image, text, width = kwargs["image"], kwargs["text"], kwargs["embed_dim"]
    if text and text["pool"] == "eot" and text["eos_id"] == _LEGACY_EOS:
        raise ValueError(
            f"text.eos_id must be another than {_LEGACY_EOS}, which means another pooling in "
            f"transformers' {NAME}; train with a tokenizer whose end token has another id"
        )
    # Each class that reads part of this folder looks for the width in another place.
    projection = {"projection_dim": width}
    vision = image and {
        "model_type": "clip_vision_model",
        **vision_config(image, num_channels=3),
        **projection,
    }
    text_config = text and {
        "model_type": "clip_text_model",
        **tower_config(text, **TEXT),
        "pad_token_id": text["pad_id"],
        "bos_token_id": None,
        "eos_token_id": _LEGACY_EOS if text["pool"] == "argmax" else text["eos_id"],
        **projection,
    }
    if not image or not text:
        tower, part = ("Vision", vision) if image else ("Text", text_config)
        ending = "WithProjection" if _projected(kwargs) else ""
        return {"architectures": [f"CLIP{tower}Model{ending}"], **part}
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        **projection,
        "logit_scale_init_value": math.log(kwargs["init_scale"]),
        "text_config": text_config,
        "vision_config": vision,
    }


def rules(kwargs: Mapping[str, Any]) -> list[Rule]:
    """The names of tensors for complete keyword arguments."""
    image, text = kwargs["image"], kwargs["text"]
    found = [*(clip_image(image) if image else []), *(clip_text(text) if text else [])]
    if _projected(kwargs):
        found += linear("image_projection", "visual_projection", bias=False) if image else []
        found += linear("text_projection", "text_projection", bias=False) if text else []
    return [*found, same("log_scale", "logit_scale")] if image and text else found


def _projected(kwargs: Mapping[str, Any]) -> bool:
    tower = "image" if kwargs["image"] else "text"
    return kwargs[f"{tower}_projection"] == "linear"


cleared = without_places
