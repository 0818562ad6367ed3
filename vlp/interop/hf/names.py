"""Names of tensors in the layers of transformers' classes, and of activations in their configs."""

from collections.abc import Mapping
from typing import Any

from vlp.interop.layout import (
    Rule,
    convolution,
    joined_linear,
    layers,
    linear,
    norm,
    same,
)

BLOCKS, LAYER = "text/stack/blocks", "encoder.layer.{}"  # of a BERT, here and there
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
}
# What their towers name alike, by our names of it; of images, and of texts.
_TOWER = dict(
    width="hidden_size", depth="num_hidden_layers", num_heads="num_attention_heads",
    mlp_dim="intermediate_size", activation="hidden_act", norm_eps="layer_norm_eps",
)  # fmt: skip
IMAGE = dict(image_size="image_size", patch_size="patch_size")
TEXT = dict(vocab_size="vocab_size", length="max_position_embeddings")
# Other names for the same functions in published configs.
_ALIASES = {"gelu_new": "gelu_tanh", "gelu_fast": "gelu_tanh", "swish": "silu"}


def activation(name: str) -> str:
    """Our name of one of their activations.

    Raises:
        ValueError: there is none.
    """
    ours = {theirs: ours for ours, theirs in ACTIVATIONS.items()} | _ALIASES
    if name not in ours:
        raise ValueError(f"hidden_act must be one of {', '.join(ours)}, got {name!r}")
    return ours[name]


def tower_kwargs(config: Mapping[str, Any], **more: str) -> dict[str, Any]:
    """The settings that all their towers name alike, and more: theirs by ours."""
    found = {ours: config[theirs] for ours, theirs in {**more, **_TOWER}.items()}
    return found | {"activation": activation(found["activation"])}


def tower_config(tower: Mapping[str, Any], **more: str) -> dict[str, Any]:
    """`tower_kwargs`, backwards."""
    found = {theirs: tower[ours] for ours, theirs in {**more, **_TOWER}.items()}
    return found | {"hidden_act": ACTIVATIONS[tower["activation"]], "attention_dropout": 0.0}


def vision_config(image: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The section of a plain ViT, with more of it between its sizes."""
    return {theirs: image[ours] for ours, theirs in IMAGE.items()} | more | tower_config(image)


def bert_config(text: Mapping[str, Any], **more: str) -> dict[str, Any]:
    """The section of a BERT: as `tower_config`, with the names that it has for dropout."""
    found = tower_config(text, **TEXT, **more)
    del found["attention_dropout"]
    return found | {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}


def clip_layers(tower: str, theirs: str, *, depth: int) -> list[Rule]:
    """The blocks of CLIP's and SigLIP's towers."""
    rules = [
        *norm("norm1", "layer_norm1"),
        *joined_linear("attention/qkv", [f"self_attn.{part}_proj" for part in "qkv"]),
        *linear("attention/out", "self_attn.out_proj"),
        *norm("norm2", "layer_norm2"),
        *linear("mlp/up", "mlp.fc1"),
        *linear("mlp/down", "mlp.fc2"),
    ]
    ours, theirs = f"{tower}/stack/blocks", f"{theirs}.encoder.layers.{{}}"
    return layers(rules, ours=ours, theirs=theirs, depth=depth)


def bert_text(text: Mapping[str, Any], *, types: bool) -> list[Rule]:
    """The embeddings and the blocks of `BertModel`, with a table for kinds of tokens or without."""
    embeddings = "embeddings"
    kinds = [same("text/types", f"{embeddings}.token_type_embeddings.weight")]
    return [
        same("text/tokens", f"{embeddings}.word_embeddings.weight"),
        same("text/positions", f"{embeddings}.position_embeddings.weight"),
        *(kinds if types else []),
        *norm("text/embed_norm", f"{embeddings}.LayerNorm"),
        *layers(bert_block(), ours=BLOCKS, theirs=LAYER, depth=text["depth"]),
    ]


def bert_block() -> list[Rule]:
    """One block of `BertModel`."""
    return [
        *bert_attention("attention", "norm1"),
        *linear("mlp/up", "intermediate.dense"),
        *linear("mlp/down", "output.dense"),
        *norm("norm2", "output.LayerNorm"),
    ]


def bert_attention(attention: str, after: str) -> list[Rule]:
    """The self-attention of a block and the norm after it, under these names of ours."""
    parts = [f"attention.self.{part}" for part in ("query", "key", "value")]
    return [
        *joined_linear(f"{attention}/qkv", parts),
        *linear(f"{attention}/out", "attention.output.dense"),
        *norm(after, "attention.output.LayerNorm"),
    ]


def bert_cross_attention() -> list[Rule]:
    """What a block of a `BertModel` with `add_cross_attention` has besides."""
    theirs = "crossattention.self"
    return [
        *linear("cross/query", f"{theirs}.query"),
        *joined_linear("cross/key_value", [f"{theirs}.{x}" for x in ("key", "value")]),
        *linear("cross/out", "crossattention.output.dense"),
        *norm("norm_cross", "crossattention.output.LayerNorm"),
    ]


def bert_token_head(ours: str, theirs: str) -> list[Rule]:
    """The language modelling head, but for the table that it shares with the embeddings."""
    return [
        *linear(f"{ours}/transform", f"{theirs}.transform.dense"),
        *norm(f"{ours}/norm", f"{theirs}.transform.LayerNorm"),
        same(f"{ours}/bias", f"{theirs}.bias"),
    ]


def bert_token_table(ours: str, theirs: str) -> list[Rule]:
    """The output layer of such a head with a table of its own; its bias is there twice."""
    return [
        same(f"{ours}/table", f"{theirs}.decoder.weight"),
        Rule(
            (f"{ours}/bias",),
            (f"{theirs}.bias", f"{theirs}.decoder.bias"),
            lambda bias, _: [bias],
            lambda bias: [bias, bias],
        ),
    ]


def clip_image(image: Mapping[str, Any]) -> list[Rule]:
    """The image tower of `CLIPModel`."""
    embeddings = "vision_model.embeddings"
    return [
        same("image/class_token", f"{embeddings}.class_embedding"),
        *convolution(
            "image/patches/linear",
            f"{embeddings}.patch_embedding",
            patch_size=image["patch_size"],
            bias=False,
        ),
        same("image/positions", f"{embeddings}.position_embedding.weight"),
        *norm("image/pre_norm", "vision_model.pre_layrnorm"),  # their spelling
        *clip_layers("image", "vision_model", depth=image["depth"]),
        *norm("image/norm", "vision_model.post_layernorm"),
    ]


def clip_text(text: Mapping[str, Any]) -> list[Rule]:
    """The text tower of `CLIPModel` and `SiglipModel`."""
    embeddings = "text_model.embeddings"
    return [
        same("text/tokens", f"{embeddings}.token_embedding.weight"),
        same("text/positions", f"{embeddings}.position_embedding.weight"),
        *clip_layers("text", "text_model", depth=text["depth"]),
        *norm("text/norm", "text_model.final_layer_norm"),
    ]
