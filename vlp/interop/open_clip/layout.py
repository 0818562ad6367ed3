"""Names of tensors in open_clip's `CLIP` and `CustomTextCLIP`, and in its towers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vlp.interop.layout import (
    Rule,
    convolution,
    joined_kernels,
    layers,
    linear,
    norm,
    same,
    split_linear,
    transposed,
)
from vlp.interop.open_clip.resnet import resnet_rules
from vlp.interop.timm.layout import head_rules, image_rules

TRUNK = "visual.trunk."
CUSTOM = "text."


def rules(kwargs: Mapping[str, Any], *, text: str, trunk: bool, axes: int = 0) -> list[Rule]:
    """The names of tensors for complete keyword arguments.

    Args:
        kwargs: of `DualEncoder`, or of `CoCa` where they have a "decoder".
        text: what stands before the names of the text tower: "text." in `CustomTextCLIP`, nothing
            in `CLIP`.
        trunk: whether the image tower is one of timm's.
        axes: of the scale and the bias of the logits, of length 1.
    """
    bias = kwargs["init_bias"] is not None
    return [
        *(_trunk(kwargs) if trunk else _image(kwargs)),
        *_text(kwargs, prefix=text),
        *(_decoder(kwargs["decoder"]) if "decoder" in kwargs else []),
        same("log_scale", "logit_scale", axes=axes),
        *([same("bias", "logit_bias", axes=axes)] if bias else []),
    ]


def blocks(*, scaled: bool = False, attention: list[Rule] | None = None) -> list[Rule]:
    """A `ResidualAttentionBlock`; `attention` is how a cross-attention reads its inputs."""
    reading = attention or [
        transposed("attention/qkv/kernel", "attn.in_proj_weight"),
        same("attention/qkv/bias", "attn.in_proj_bias"),
    ]
    scales = [same("attention_scale", "ls_1.gamma"), same("mlp_scale", "ls_2.gamma")]
    return [
        *norm("norm1", "ln_1"),
        *reading,
        *linear("attention/out", "attn.out_proj"),
        *norm("norm2", "ln_2"),
        *linear("mlp/up", "mlp.c_fc"),
        *linear("mlp/down", "mlp.c_proj"),
        *(scales if scaled else []),
    ]


def _trunk(kwargs: Mapping[str, Any]) -> list[Rule]:
    projection = {
        "none": [],
        "linear": linear("image_projection", "visual.head.proj", bias=False),
        "linear_bias": head_rules(prefix=TRUNK),
    }
    image = image_rules(kwargs["image"], prefix=TRUNK)
    return [*image, *projection[kwargs["image_projection"]]]


def _image(kwargs: Mapping[str, Any]) -> list[Rule]:
    image = kwargs["image"]
    if image["kind"] == "resnet":
        return resnet_rules(image["layers"])
    size = image["patch_size"]
    return [
        same("image/class_token", "visual.class_embedding"),
        same("image/positions", "visual.positional_embedding"),
        *convolution("image/patches/linear", "visual.conv1", patch_size=size, bias=False),
        *(norm("image/pre_norm", "visual.ln_pre") if image["pre_norm"] else []),
        *layers(
            blocks(scaled=image["layer_scale"] is not None),
            ours="image/stack/blocks",
            theirs="visual.transformer.resblocks.{}",
            depth=image["depth"],
        ),
        *(_query_pool(image) if image["pool"] == "queries" else []),
        *norm("image/norm", "visual.ln_post"),
        same("image_projection/kernel", "visual.proj"),
    ]


def _text(kwargs: Mapping[str, Any], *, prefix: str) -> list[Rule]:
    text, projection = kwargs["text"], f"{prefix}text_projection"
    projections = {
        "none": [],
        "linear": [same("text_projection/kernel", projection)],
        "linear_bias": linear("text_projection", projection),
    }
    class_token = text["pool"] == "cls_last"
    return [
        same("text/tokens", f"{prefix}token_embedding.weight"),
        same("text/positions", f"{prefix}positional_embedding"),
        *([same("text/class_token", f"{prefix}cls_emb")] if class_token else []),
        *layers(
            blocks(scaled=text["layer_scale"] is not None),
            ours="text/stack/blocks",
            theirs=f"{prefix}transformer.resblocks.{{}}",
            depth=text["depth"],
        ),
        *norm("text/norm", f"{prefix}ln_final"),
        *projections[kwargs["text_projection"]],
    ]


def _query_pool(image: Mapping[str, Any]) -> list[Rule]:
    there, ours = "visual.attn_pool", "image/head"
    attention = _separate(f"{ours}/attention", f"{there}.attn")
    if image["queries"]["width"] == image["width"]:  # then PyTorch keeps one matrix
        attention = _joined(f"{ours}/attention", f"{there}.attn")
    return [
        same(f"{ours}/queries", f"{there}.query"),
        *norm(f"{ours}/norm_query", f"{there}.ln_q"),
        *norm(f"{ours}/norm_context", f"{there}.ln_k"),
        *attention,
        *linear(f"{ours}/attention/out", f"{there}.attn.out_proj"),
    ]


def _decoder(decoder: Mapping[str, Any]) -> list[Rule]:
    cross = [*norm("norm_context", "ln_1_kv"), *_joined("attention", "attn")]
    ours, theirs, depth = "decoder/stack/blocks", "text_decoder", decoder["depth"]
    return [
        *layers(blocks(), ours=f"{ours}/own", theirs=f"{theirs}.resblocks.{{}}", depth=depth),
        *layers(
            blocks(attention=cross),
            ours=f"{ours}/cross",
            theirs=f"{theirs}.cross_attn.{{}}",
            depth=depth,
        ),
        *norm("decoder/norm", f"{theirs}.ln_final"),
        same("decoder/vocabulary/kernel", f"{theirs}.text_projection"),
    ]


def _joined(ours: str, theirs: str) -> list[Rule]:
    """An attention whose query, key and value are one matrix there."""
    parts = (f"{ours}/query", f"{ours}/key_value")
    return split_linear(parts, f"{theirs}.in_proj_weight", f"{theirs}.in_proj_bias")


def _separate(ours: str, theirs: str) -> list[Rule]:
    """An attention whose keys have another width than its queries: three matrices, one bias."""
    return [
        transposed(f"{ours}/query/kernel", f"{theirs}.q_proj_weight"),
        joined_kernels(
            f"{ours}/key_value/kernel", [f"{theirs}.{part}_proj_weight" for part in "kv"]
        ),
        Rule(
            (f"{ours}/query/bias", f"{ours}/key_value/bias"),
            (f"{theirs}.in_proj_bias",),
            lambda tensor: np.split(tensor, [len(tensor) // 3]),
            lambda *arrays: [np.concatenate(arrays)],
        ),
    ]
