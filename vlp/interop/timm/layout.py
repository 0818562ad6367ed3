"""Names of tensors in timm's `VisionTransformer`."""

from collections.abc import Mapping
from typing import Any

from vlp.interop.layout import Rule, convolution, layers, linear, norm, same


def image_rules(image: Mapping[str, Any], *, prefix: str = "") -> list[Rule]:
    """The image tower without its head.

    Args:
        image: complete keyword arguments of our `VisionTransformer`.
        prefix: what stands before all names, such as "visual.trunk." in open_clip.
    """
    class_token = image["pool"] == "cls" if image["class_token"] is None else image["class_token"]
    patches = f"{prefix}patch_embed.proj"
    bias = image["patch_bias"]
    return [
        *([same("image/class_token", f"{prefix}cls_token", axes=2)] if class_token else []),
        same("image/positions", f"{prefix}pos_embed", axes=1),
        *convolution("image/patches/linear", patches, patch_size=image["patch_size"], bias=bias),
        *(norm("image/pre_norm", f"{prefix}norm_pre") if image["pre_norm"] else []),
        *layers(
            _block(scaled=image["layer_scale"] is not None),
            ours="image/stack/blocks",
            theirs=f"{prefix}blocks.{{}}",
            depth=image["depth"],
        ),
        *norm("image/norm", f"{prefix}{'fc_norm' if image['norm_after_pool'] else 'norm'}"),
        *(_map_head(prefix) if image["pool"] == "map" else []),
    ]


def head_rules(*, prefix: str = "") -> list[Rule]:
    """The head, where it is the projection."""
    return linear("image_projection", f"{prefix}head")


def _block(*, scaled: bool) -> list[Rule]:
    scales = [same("attention_scale", "ls1.gamma"), same("mlp_scale", "ls2.gamma")]
    return [
        *norm("norm1", "norm1"),
        *linear("attention/qkv", "attn.qkv"),
        *linear("attention/out", "attn.proj"),
        *norm("norm2", "norm2"),
        *linear("mlp/up", "mlp.fc1"),
        *linear("mlp/down", "mlp.fc2"),
        *(scales if scaled else []),
    ]


def _map_head(prefix: str) -> list[Rule]:
    head = f"{prefix}attn_pool"
    return [
        same("image/head/probe", f"{head}.latent", axes=2),
        *linear("image/head/query", f"{head}.q"),
        *linear("image/head/key_value", f"{head}.kv"),
        *linear("image/head/out", f"{head}.proj"),
        *norm("image/head/norm", f"{head}.norm"),
        *linear("image/head/mlp/up", f"{head}.mlp.fc1"),
        *linear("image/head/mlp/down", f"{head}.mlp.fc2"),
    ]
