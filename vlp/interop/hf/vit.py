"""`ViTModel`: config.json, our keyword arguments, and the names of tensors."""

from collections.abc import Mapping
from typing import Any

from vlp.interop.adapt import plain_vit
from vlp.interop.hf.names import IMAGE, tower_kwargs, vision_config
from vlp.interop.layout import Rule, convolution, joined_linear, layers, linear, norm, same
from vlp.interop.surplus import Surplus, settle
from vlp.interop.tensors import Tensors

NAME = "ViTModel"
OBJECTIVE = "clip"
MEAN = STD = (0.5, 0.5, 0.5)
ACCEPTED = {**plain_vit(pooler=(False, True)), "image_projection": ("none",)}
# What the class assumes where a config says nothing: the sizes of B/16.
_DEFAULTS = dict(
    hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
    image_size=224, patch_size=16, hidden_act="gelu", layer_norm_eps=1e-12,
)  # fmt: skip

_HEADS = (
    Surplus(r"(classifier|decoder)\..*", "a head of the task that it was trained for"),
    Surplus(r".*embeddings\.mask_token", "what stood for masked patches in pretraining"),
)


def accepted(kwargs: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What the class can hold, see `vlp.interop.adapt`."""
    return ACCEPTED


def kwargs(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `DualEncoder` for the image tower alone.

    Raises:
        ValueError: the config asks for what the class has and the tower here has not.
    """
    config = _DEFAULTS | dict(config)
    expected = {"qkv_bias": True, "pooler_act": "tanh", "pooler_output_size": config["hidden_size"]}
    for key, value in expected.items():
        if config.get(key, value) != value:
            raise ValueError(f"{key} of a ViTModel must be {value!r}, got {config[key]!r}")
    return dict(
        image=dict(
            **tower_kwargs(config, **IMAGE),
            pool="cls",
            pooler="pooler.dense.weight" in tensors,
        ),
        text=None,
        embed_dim=config["hidden_size"],
        image_projection="none",
    )


def config(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """`config.json` for complete keyword arguments."""
    image = kwargs["image"]
    return {
        "architectures": ["ViTModel"],
        "model_type": "vit",
        **vision_config(image, num_channels=3),
        "qkv_bias": True,
        "pooler_act": "tanh",
        "pooler_output_size": image["width"],
    }


def rules(kwargs: Mapping[str, Any]) -> list[Rule]:
    """The names of tensors for complete keyword arguments."""
    image, patches = kwargs["image"], "embeddings.patch_embeddings.projection"
    pooler = linear("image/pooler", "pooler.dense") if image["pooler"] else []
    parts = [f"attention.attention.{part}" for part in ("query", "key", "value")]
    block = [
        *norm("norm1", "layernorm_before"),
        *joined_linear("attention/qkv", parts),
        *linear("attention/out", "attention.output.dense"),
        *norm("norm2", "layernorm_after"),
        *linear("mlp/up", "intermediate.dense"),
        *linear("mlp/down", "output.dense"),
    ]
    return [
        same("image/class_token", "embeddings.cls_token", axes=2),
        same("image/positions", "embeddings.position_embeddings", axes=1),
        *convolution("image/patches/linear", patches, patch_size=image["patch_size"], bias=True),
        *layers(block, ours="image/stack/blocks", theirs="encoder.layer.{}", depth=image["depth"]),
        *norm("image/norm", "layernorm"),
        *pooler,
    ]


def cleared(tensors: Tensors) -> Tensors:
    """The tensors of `ViTModel`, without the heads of its descendants."""
    return settle(tensors, _HEADS).renamed(lambda name: name.removeprefix("vit."))
