"""`VisionTextDualEncoderModel` of a ViT and a BERT: config.json, arguments, names of tensors."""

import math
from collections.abc import Mapping
from typing import Any

from vlp.interop.hf import bert, vit
from vlp.interop.layout import Rule, linear, prefixed, same
from vlp.interop.surplus import without_places

NAME = "VisionTextDualEncoderModel"
OBJECTIVE = "clip"
MEAN, STD = vit.MEAN, vit.STD
_BOTH = {**vit.ACCEPTED, **bert.ACCEPTED, "image.pooler": (True,), "text.pooler": (True,)}
ACCEPTED = _BOTH | {
    "image_projection": ("linear",),
    "text_projection": ("linear",),
    "init_bias": (None,),
}
_VISION, _TEXT = "vision_model.", "text_model."


def accepted(kwargs: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What the class can hold, see `vlp.interop.adapt`."""
    return ACCEPTED


def kwargs(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `DualEncoder`.

    Raises:
        ValueError: the towers are other ones.
    """
    kinds = tuple(config[f"{name}_config"].get("model_type") for name in ("vision", "text"))
    if kinds != ("vit", "bert"):
        raise ValueError(
            "the towers of a VisionTextDualEncoderModel must be ('vit', 'bert') to be read here, "
            f"got {kinds}"
        )
    image = vit.kwargs(config["vision_config"], _part(tensors, _VISION))
    text = bert.kwargs(config["text_config"], _part(tensors, _TEXT))
    return dict(
        image=image["image"],
        text=text["text"],
        embed_dim=config["projection_dim"],
        image_projection="linear",
        text_projection="linear",
        init_scale=math.exp(config.get("logit_scale_init_value", 2.6592)),
    )


def config(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """`config.json` for complete keyword arguments."""
    return {
        "architectures": ["VisionTextDualEncoderModel"],
        "model_type": "vision-text-dual-encoder",
        "projection_dim": kwargs["embed_dim"],
        "logit_scale_init_value": math.log(kwargs["init_scale"]),
        "vision_config": vit.config(kwargs),
        "text_config": bert.config(kwargs),
    }


def rules(kwargs: Mapping[str, Any]) -> list[Rule]:
    """The names of tensors for complete keyword arguments."""
    return [
        *prefixed(vit.rules(kwargs), theirs=_VISION),
        *prefixed(bert.rules(kwargs), theirs=_TEXT),
        *linear("image_projection", "visual_projection", bias=False),
        *linear("text_projection", "text_projection", bias=False),
        same("log_scale", "logit_scale"),
    ]


cleared = without_places


def _part(tensors: Mapping[str, Any], prefix: str) -> dict[str, None]:
    return {name.removeprefix(prefix): None for name in tensors if name.startswith(prefix)}
