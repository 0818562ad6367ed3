"""`SiglipModel`, `Siglip2Model` and their towers: config.json, keyword arguments, tensor names.

Fixed-resolution SigLIP 2 is a `SiglipModel` with another tokenizer; `Siglip2Model` is NaFlex.
"""

from collections.abc import Mapping
from typing import Any

from vlp.interop.adapt import plain_vit
from vlp.interop.hf.names import (
    IMAGE,
    TEXT,
    clip_layers,
    clip_text,
    tower_config,
    tower_kwargs,
)
from vlp.interop.layout import Rule, convolution, linear, norm, same, split_linear
from vlp.interop.surplus import without_places

NAME = "SiglipModel"
OBJECTIVE = "siglip"
_HEAD = "vision_model.head."
MEAN = STD = (0.5, 0.5, 0.5)
# What the classes assume where a config says nothing: the sizes of B/16.
_SHARED = dict(
    hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
    hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6,
)  # fmt: skip
_TEXT = dict(_SHARED, vocab_size=32000, max_position_embeddings=64, pad_token_id=1)
_VISION = dict(_SHARED, image_size=224, patch_size=16, num_patches=256, vision_use_head=True)
EOS_ID = 1  # the tokenizers' end token; configs say 49407, a value left over from CLIP


def accepted(kwargs: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What the classes can hold, see `vlp.interop.adapt`."""
    naflex = bool(kwargs["image"]) and kwargs["image"]["kind"] == "naflex"
    return {
        **({} if naflex else plain_vit(pool=("map",), class_token=(None, False))),
        "image.kind": ("vit", "naflex"),
        "text.kind": ("transformer",),
        "text.causal": (False,),
        "text.mask_padding": (False,),
        "text.pool": ("last",),
        "text.layer_scale": (None,),
        "image_projection": ("none",),
        "text_projection": ("linear_bias",),
        **({} if kwargs["init_bias"] is not None else {"init_bias": (0.0,)}),
    }


def kwargs(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `DualEncoder` for a config of one of the classes.

    Raises:
        ValueError: the image tower has no pooling head.
    """
    kind = config.get("model_type", "siglip")
    vision = {**_VISION, **(config.get("vision_config") or (config if "vision" in kind else {}))}
    text = {**_TEXT, **(config.get("text_config") or (config if "text" in kind else {}))}
    headless = "text" not in kind and not any(_HEAD in name for name in tensors)
    if headless or not vision["vision_use_head"]:
        found = "no such tensor" if headless else "vision_use_head=false"
        raise ValueError(
            f"a SigLIP must have its pooling head, {_HEAD}*, found {found}: without it the image "
            "tower gives tokens and no embedding; take the weights of the whole model, such as "
            "google/siglip-base-patch16-224"
        )
    embed_dim = text.get("projection_size", text["hidden_size"])
    return dict(
        image=None if "text" in kind else _image_kwargs(vision, naflex=kind.startswith("siglip2")),
        text=None if "vision" in kind else _text_kwargs(text),
        embed_dim=vision["hidden_size"] if "vision" in kind else embed_dim,
        image_projection="none",
        text_projection="linear_bias",
        image_mean=list(MEAN),
        image_std=list(STD),
        init_scale=10.0,
        init_bias=-10.0,
    )


def _image_kwargs(config: Mapping[str, Any], *, naflex: bool) -> dict[str, Any]:
    if naflex:
        shared = tower_kwargs(config, patch_size="patch_size")
        return dict(kind="naflex", num_patches=config["num_patches"], **shared)
    return dict(**tower_kwargs(config, **IMAGE), pool="map", patch_bias=True)


def _text_kwargs(config: Mapping[str, Any]) -> dict[str, Any]:
    return dict(
        **tower_kwargs(config, **TEXT),
        causal=False,
        pool="last",
        eos_id=EOS_ID,
        pad_id=config["pad_token_id"],
    )


def config(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """`config.json` for complete keyword arguments; for one tower where the other is None."""
    image, text = kwargs["image"], kwargs["text"]
    naflex = bool(image) and image["kind"] == "naflex"
    kind, size = ("siglip2", "num_patches") if naflex else ("siglip", "image_size")
    vision_config = image and {
        "model_type": f"{kind}_vision_model",
        "patch_size": image["patch_size"],
        "num_channels": 3,
        **tower_config(image),
        "vision_use_head": True,
        size: image[size],
    }
    text_config = text and {
        "model_type": f"{kind}_text_model",
        **tower_config(text, **TEXT),
        "pad_token_id": text["pad_id"],
        "bos_token_id": None,
        "eos_token_id": text["eos_id"],
        "projection_size": kwargs["embed_dim"],
    }
    name = kind.capitalize()
    if not image or not text:
        tower = "Vision" if image else "Text"
        return {"architectures": [f"{name}{tower}Model"], **(vision_config or text_config)}
    return {
        "architectures": [f"{name}Model"],
        "model_type": kind,
        "text_config": text_config,
        "vision_config": vision_config,
    }


def rules(kwargs: Mapping[str, Any]) -> list[Rule]:
    """The names of tensors for complete keyword arguments."""
    found: list[Rule] = []
    if kwargs["image"]:
        found += _image(kwargs["image"])
    if kwargs["text"]:
        found += clip_text(kwargs["text"])
        found += linear("text_projection", "text_model.head")
    if kwargs["image"] and kwargs["text"]:
        found += [same("log_scale", "logit_scale", axes=1), same("bias", "logit_bias", axes=1)]
    return found


cleared = without_places


def _image(image: Mapping[str, Any]) -> list[Rule]:
    ours, theirs = "image/patches/linear", "vision_model.embeddings.patch_embedding"
    if image["kind"] == "naflex":
        patches = linear(ours, theirs)
    else:
        patches = convolution(ours, theirs, patch_size=image["patch_size"], bias=True)
    return [
        *patches,
        same("image/positions", "vision_model.embeddings.position_embedding.weight"),
        *clip_layers("image", "vision_model", depth=image["depth"]),
        *norm("image/norm", "vision_model.post_layernorm"),
        same("image/head/probe", f"{_HEAD}probe", axes=2),
        *split_linear(
            ["image/head/query", "image/head/key_value"],
            f"{_HEAD}attention.in_proj_weight",
            f"{_HEAD}attention.in_proj_bias",
        ),
        *linear("image/head/out", f"{_HEAD}attention.out_proj"),
        *norm("image/head/norm", f"{_HEAD}layernorm"),
        *linear("image/head/mlp/up", f"{_HEAD}mlp.fc1"),
        *linear("image/head/mlp/down", f"{_HEAD}mlp.fc2"),
    ]
