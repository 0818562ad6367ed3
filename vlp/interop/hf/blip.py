"""`BlipForImageTextRetrieval` and `BlipForConditionalGeneration`: config.json, our keyword
arguments, and the names of tensors."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vlp.interop.adapt import plain_vit
from vlp.interop.hf import clip
from vlp.interop.hf.names import (
    IMAGE,
    LAYER,
    TEXT,
    bert_config,
    bert_cross_attention,
    bert_text,
    bert_token_head,
    bert_token_table,
    tower_kwargs,
    vision_config,
)
from vlp.interop.layout import Rule, convolution, layers, linear, norm, prefixed, same
from vlp.interop.surplus import POSITIONS, differ, settle, without_copies
from vlp.interop.tensors import Tensors

NAME = "BlipForImageTextRetrieval and BlipForConditionalGeneration"
OBJECTIVE = "blip"
MEAN, STD = clip.MEAN, clip.STD
# The class of a model for one mode, and what its text model is called there.
_CLASSES = {
    "encode": ("BlipForImageTextRetrieval", "text_encoder."),
    "decode": ("BlipForConditionalGeneration", "text_decoder.bert."),
}
_HEAD = "text_decoder.cls.predictions"
_TOKENS = "text_decoder.bert.embeddings.word_embeddings.weight"
# Names of what only one mode needs.
_DECODING = ("token_head/", "grounding/blocks/writer/", "grounding/blocks/norm_writer/")
_ENCODING = ("match_head/", "image_projection/", "text_projection/", "log_scale")
# What the classes assume where a config says nothing.
_TEXT = dict(
    vocab_size=30524, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
    num_attention_heads=8, max_position_embeddings=512, hidden_act="gelu", layer_norm_eps=1e-12,
    bos_token_id=30522, pad_token_id=0, sep_token_id=102, is_decoder=True,
)  # fmt: skip
_VISION = dict(
    hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
    image_size=384, patch_size=16, hidden_act="gelu", layer_norm_eps=1e-5,
)  # fmt: skip


def accepted(kwargs: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What the classes can hold, see `vlp.interop.adapt`.

    Raises:
        ValueError: the model has both modes.
    """
    if len(kwargs["modes"]) > 1:
        raise ValueError(
            "transformers has a class for each mode of a BLIP and none for both, got "
            f"modes={list(kwargs['modes'])}; give mode=encode (retrieval) or mode=decode "
            "(captions): --mode of vlp export, export.mode in a config"
        )
    encodes = "encode" in kwargs["modes"]
    return {
        **plain_vit(),
        "text.num_types": (None,),
        "text.activation": ("gelu",),
        "image_projection": ("linear_bias",) if encodes else ("none",),
        "init_bias": (None,),
        **({"text_projection": ("linear_bias",)} if encodes else {}),
        **({"encode_id": (kwargs["text"]["vocab_size"] - 1,)} if encodes else {}),
    }


def kwargs(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `Blip`, for one mode.

    The classes put nothing in the place of the first token of a text to match; the weights were
    trained with the token behind `bos_token_id` there, as `Blip.match` has it.

    Raises:
        ValueError: the folder is of another class, or its text model reads no image.
    """
    mode = _mode(tensors)
    vision = _VISION | (config.get("vision_config") or {})
    text = _TEXT | (config.get("text_config") or {})
    if not text["is_decoder"]:
        raise ValueError("is_decoder in text_config must be true: without it nothing is read")
    if text["hidden_act"] != "gelu":
        raise ValueError(f"hidden_act in text_config must be 'gelu', got {text['hidden_act']!r}")
    embed_dim = config.get("image_text_hidden_size", 256)
    projection = "linear_bias" if mode == "encode" else "none"
    return dict(
        image=dict(**tower_kwargs(vision, **IMAGE), pool="cls"),
        text=dict(
            kind="bert",
            num_types=None,
            **tower_kwargs(text, **TEXT),
            causal=mode == "decode",
            pad_id=text["pad_token_id"],
            pooler=False,
        ),
        modes=[mode],
        end_id=text["sep_token_id"],
        decode_id=text["bos_token_id"],
        encode_id=text["vocab_size"] - 1,
        embed_dim=embed_dim if mode == "encode" else vision["hidden_size"],
        image_projection=projection,
        text_projection=projection,
        image_mean=list(MEAN),
        image_std=list(STD),
        init_scale=math.exp(config.get("logit_scale_init_value", 2.6592)),
        **({"tied_head": False} if f"{_HEAD}.decoder.weight" in tensors else {}),
    )


def alone(
    kwargs: Mapping[str, Any], params: Mapping[str, Any], *, mode: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The part of a model that one mode needs, which is all that one class holds.

    Args:
        kwargs, params: complete keyword arguments, and parameters by name.
        mode: "encode" or "decode".

    Raises:
        ValueError: the model does not have that mode.
    """
    modes = kwargs.get("modes", [])
    if mode not in modes:
        raise ValueError(
            f"mode must be one that the model has, {' or '.join(modes) or 'which is no BLIP'}, "
            f"got {mode!r}"
        )
    if list(modes) == [mode]:
        return dict(kwargs), dict(params)
    other = _DECODING if mode == "encode" else _ENCODING
    kept = {name: array for name, array in params.items() if not name.startswith(other)}
    if mode == "encode":
        return {**kwargs, "modes": [mode]}, kept
    for part, writer in (("attention", "writer"), ("norm1", "norm_writer")):
        ours, theirs = f"text/stack/blocks/{part}/", f"grounding/blocks/{writer}/"
        found = {name: array for name, array in kept.items() if name.startswith(theirs)}
        kept = {name: array for name, array in kept.items() if not name.startswith(theirs)}
        kept |= {name.replace(theirs, ours): array for name, array in found.items()}
    settings = dict(embed_dim=kwargs["image"]["width"], image_projection="none")
    text = {**kwargs["text"], "causal": True}
    return {**kwargs, "modes": [mode], "text": text, **settings}, kept


def settled(kwargs: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments with the learned scale, which no tensor of the classes holds."""
    if "log_scale" not in params:
        return dict(kwargs)
    return {**kwargs, "init_scale": math.exp(float(params["log_scale"]))}


def config(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """`config.json` for complete keyword arguments."""
    image, text = kwargs["image"], kwargs["text"]
    return {
        "architectures": [_CLASSES[kwargs["modes"][0]][0]],
        "model_type": "blip",
        "image_text_hidden_size": kwargs["embed_dim"],
        "logit_scale_init_value": math.log(kwargs["init_scale"]),
        "tie_word_embeddings": kwargs.get("tied_head", True),
        "vision_config": {"model_type": "blip_vision_model", **vision_config(image)},
        "text_config": {
            "model_type": "blip_text_model",
            **bert_config(text),
            "encoder_hidden_size": image["width"],
            "is_decoder": True,
            "bos_token_id": kwargs["decode_id"],
            "sep_token_id": kwargs["end_id"],
            "eos_token_id": kwargs["end_id"],
            "pad_token_id": text["pad_id"],
        },
    }


def rules(kwargs: Mapping[str, Any]) -> list[Rule]:
    """The names of tensors for complete keyword arguments."""
    mode = kwargs["modes"][0]
    text = prefixed(text_rules(kwargs["text"]), theirs=_CLASSES[mode][1])
    if mode == "decode":
        head = bert_token_head("token_head", _HEAD)
        if not kwargs.get("tied_head", True):
            head = [*head[:-1], *bert_token_table("token_head", _HEAD)]
        return [*image_rules(kwargs["image"]), *text, *head]
    scale = np.float32(math.log(kwargs["init_scale"]))  # the class has none: see its config
    return [
        *image_rules(kwargs["image"]),
        *text,
        *heads(),
        Rule(("log_scale",), (), lambda: [np.asarray(scale)], lambda _: []),
    ]


def image_rules(image: Mapping[str, Any], *, last_norm: str = "image/norm") -> list[Rule]:
    """The image tower; `last_norm` is what stands behind its blocks here."""
    embeddings = "vision_model.embeddings"
    block = [
        *norm("norm1", "layer_norm1"),
        *linear("attention/qkv", "self_attn.qkv"),
        *linear("attention/out", "self_attn.projection"),
        *norm("norm2", "layer_norm2"),
        *linear("mlp/up", "mlp.fc1"),
        *linear("mlp/down", "mlp.fc2"),
    ]
    return [
        same("image/class_token", f"{embeddings}.class_embedding", axes=2),
        same("image/positions", f"{embeddings}.position_embedding", axes=1),
        *convolution(
            "image/patches/linear",
            f"{embeddings}.patch_embedding",
            patch_size=image["patch_size"],
            bias=True,
        ),
        *layers(
            block,
            ours="image/stack/blocks",
            theirs="vision_model.encoder.layers.{}",
            depth=image["depth"],
        ),
        *norm(last_norm, "vision_model.post_layernorm"),
    ]


def text_rules(text: Mapping[str, Any]) -> list[Rule]:
    """BERT's embeddings and blocks, each with cross-attention."""
    cross = layers(
        bert_cross_attention(), ours="grounding/blocks", theirs=LAYER, depth=text["depth"]
    )
    return [*bert_text(text, types=False), *cross]


def heads() -> list[Rule]:
    """What only an encoder has."""
    return [
        *linear("image_projection", "vision_proj"),
        *linear("text_projection", "text_proj"),
        *linear("match_head", "itm_head"),
    ]


def cleared(tensors: Tensors) -> Tensors:
    """The tensors of the rules: without buffers, and without the output table where that is the
    embedding table.

    A bias that differs from the output layer's is not what the class computes with.
    """
    table, bias, other = (f"{_HEAD}.{x}" for x in ("decoder.weight", "decoder.bias", "bias"))
    tensors = settle(tensors, POSITIONS)
    if differ(tensors, bias, other):
        tensors = tensors.without({other: f"not computed with, {bias} is"})
    tensors = without_copies(tensors, {bias: other})
    if not differ(tensors, table, _TOKENS):
        return without_copies(tensors, {table: _TOKENS})
    return tensors.with_copy(bias, of=other)


def _mode(tensors: Mapping[str, Any]) -> str:
    """What the tensors are for."""
    found = [
        mode
        for mode, (_, prefix) in _CLASSES.items()
        if f"{prefix}embeddings.word_embeddings.weight" in tensors
    ]
    if len(found) != 1:
        raise ValueError(
            f"a BLIP of transformers must be a {NAME.replace(' and ', ' or a ')} to be read here, "
            f"got {'both text models, as for questions' if found else 'neither text model'}; "
            "take another checkpoint"
        )
    return found[0]
