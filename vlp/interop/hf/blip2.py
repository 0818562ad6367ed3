"""`Blip2ForImageTextRetrieval`: config.json, our keyword arguments, and the names of tensors."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vlp.interop.adapt import plain_vit
from vlp.interop.hf import clip
from vlp.interop.hf.blip import image_rules, settled
from vlp.interop.hf.names import (
    BLOCKS,
    IMAGE,
    TEXT,
    bert_block,
    bert_config,
    bert_cross_attention,
    tower_kwargs,
    vision_config,
)
from vlp.interop.layout import Rule, layers, linear, norm, same
from vlp.interop.surplus import without_places

__all__ = ["MEAN", "NAME", "OBJECTIVE", "STD", "accepted", "alone", "cleared", "config", "kwargs",
           "rules", "settled"]  # fmt: skip
NAME = "Blip2ForImageTextRetrieval"
OBJECTIVE = "blip2"
MEAN, STD = clip.MEAN, clip.STD
_BLOCK = "qformer.encoder.layer.{}"
_SEP = 102  # ends a text of BERT's vocabulary, which the class goes on with
_TEMPERATURE = 0.07  # the authors' start: the class has none
# What the class assumes where a config says nothing.
_VISION = dict(
    hidden_size=1408, intermediate_size=6144, num_hidden_layers=39, num_attention_heads=16,
    image_size=224, patch_size=14, hidden_act="gelu", layer_norm_eps=1e-6, qkv_bias=True,
)  # fmt: skip
_QFORMER = dict(
    vocab_size=30522, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
    num_attention_heads=12, max_position_embeddings=512, hidden_act="gelu", layer_norm_eps=1e-12,
    pad_token_id=0, cross_attention_frequency=2, use_qformer_text_input=False,
)  # fmt: skip


def accepted(kwargs: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What the class can hold, see `vlp.interop.adapt`.

    Raises:
        ValueError: the model writes, or is a part of one.
    """
    if kwargs["image"] is None or kwargs["text"] is None:
        raise ValueError(
            "a BLIP-2 goes to transformers whole, for its queries are part of both sides, got one "
            'tower; leave towers out, or give "both"'
        )
    if kwargs["writes"]:
        raise ValueError(
            f"transformers' {NAME} has no head for words; give mode=encode to leave it out: --mode "
            "of vlp export, export.mode in a config"
        )
    return {
        **plain_vit(norm_after_pool=(False, True), pooler=(False, True)),
        "image_norm_eps": (kwargs["image"]["norm_eps"],),
        "text.pool": ("cls",),
        "text.causal": (False,),
    }


def kwargs(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `Blip2`, without a head for words.

    Raises:
        ValueError: the folder is of another class.
    """
    if "embeddings.word_embeddings.weight" not in tensors:
        raise ValueError(
            f"a BLIP-2 of transformers must be a {NAME} to be read here, whose texts go through "
            "the Q-Former; take another checkpoint"
        )
    vision = _VISION | (config.get("vision_config") or {})
    text = _QFORMER | (config.get("qformer_config") or {})
    scale = config.get("logit_scale_init_value", -math.log(_TEMPERATURE))
    return dict(
        image=dict(**tower_kwargs(vision, **IMAGE), pool="cls"),
        text=dict(
            kind="bert",
            num_types=None,
            **tower_kwargs(text, **TEXT),
            pad_id=text["pad_token_id"],
            pooler=False,
        ),
        end_id=_SEP,
        num_queries=config.get("num_query_tokens", 32),
        cross_every=text["cross_attention_frequency"],
        writes=False,
        image_norm_eps=vision["layer_norm_eps"],
        embed_dim=config.get("image_text_hidden_size", 256),
        image_mean=list(MEAN),
        image_std=list(STD),
        init_scale=math.exp(scale),
    )


def alone(
    kwargs: Mapping[str, Any], params: Mapping[str, Any], *, mode: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The part of a model that the class holds: all but the head for words.

    Args:
        kwargs, params: complete keyword arguments, and parameters by name.
        mode: "encode".

    Raises:
        ValueError: for another mode.
    """
    if mode != "encode":
        raise ValueError(f"mode of a BLIP-2 must be encode, for {NAME}, got {mode!r}")
    kept = {name: array for name, array in params.items() if not name.startswith("token_head/")}
    return {**kwargs, "writes": False}, kept


def config(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """`config.json` for complete keyword arguments."""
    image, text = kwargs["image"], kwargs["text"]
    return {
        "architectures": [NAME],
        "model_type": "blip-2",
        "image_text_hidden_size": kwargs["embed_dim"],
        "num_query_tokens": kwargs["num_queries"],
        "logit_scale_init_value": math.log(kwargs["init_scale"]),  # the class looks at none
        "vision_config": {
            "model_type": "blip_2_vision_model",
            **vision_config(image, qkv_bias=True),
        },
        "qformer_config": {
            "model_type": "blip_2_qformer",
            **bert_config(text),
            "encoder_hidden_size": image["width"],
            "cross_attention_frequency": kwargs["cross_every"],
            "use_qformer_text_input": True,
            "pad_token_id": text["pad_id"],
        },
    }


def rules(kwargs: Mapping[str, Any]) -> list[Rule]:
    """The names of tensors for complete keyword arguments."""
    text, every = kwargs["text"], kwargs["cross_every"]
    depth, width = text["depth"], kwargs["image"]["width"]
    cross = [_inside(rule, "crossattention") for rule in bert_cross_attention()]
    block = [_inside(rule, "attention") for rule in bert_block()]
    ours = "querying/blocks"
    perceptron = [
        *linear("mlp/up", "intermediate_query.dense"),
        *linear("mlp/down", "output_query.dense"),
        *norm("norm2", "output_query.LayerNorm"),
    ]
    queries = layers(perceptron, ours=f"{ours}/perceptrons", theirs=_BLOCK, depth=depth)
    scale = np.float32(math.log(kwargs["init_scale"]))
    return [
        *image_rules(kwargs["image"], last_norm="image_norm"),
        # The frozen tower's own last norm is not computed with.
        _constant("image/norm/scale", np.ones(width, np.float32)),
        _constant("image/norm/bias", np.zeros(width, np.float32)),
        _constant("log_scale", np.asarray(scale)),
        same("querying/tokens", "query_tokens", axes=1),
        same("text/tokens", "embeddings.word_embeddings.weight"),
        same("text/positions", "embeddings.position_embeddings.weight"),
        *norm("text/embed_norm", "qformer.layernorm"),
        *layers(block, ours=BLOCKS, theirs=_BLOCK, depth=depth),
        *layers(cross, ours=ours, theirs=_BLOCK, depth=depth, every=every),
        *(_in_units(rule, every) for rule in queries),
        *linear("image_projection", "vision_projection"),
        *linear("text_projection", "text_projection"),
        *linear("match_head", "itm_head"),
    ]


cleared = without_places


def _inside(rule: Rule, attention: str) -> Rule:
    """BERT's names with the class's own of an attention's projections."""
    before, after = f"{attention}.self.", f"{attention}.attention."
    return dataclasses.replace(
        rule, theirs=tuple(name.replace(before, after) for name in rule.theirs)
    )


def _in_units(rule: Rule, every: int) -> Rule:
    """A rule of arrays `[depth, ...]` for the same in units, `[units, every, ...]`."""

    def read(*tensors: np.ndarray) -> Sequence[np.ndarray]:
        return [x.reshape(-1, every, *x.shape[1:]) for x in rule.read(*tensors)]

    def write(*arrays: np.ndarray) -> Sequence[np.ndarray]:
        return rule.write(*(x.reshape(-1, *x.shape[2:]) for x in arrays))

    return dataclasses.replace(rule, read=read, write=write)


def _constant(ours: str, value: np.ndarray) -> Rule:
    """A parameter that no tensor of theirs holds."""
    return Rule((ours,), (), lambda: [value], lambda _: [])
