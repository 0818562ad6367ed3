"""Names of tensors in the checkpoints of ALBEF's authors, and the sizes that these tell."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vlp.interop.hf.names import (
    LAYER,
    bert_block,
    bert_cross_attention,
    bert_text,
    bert_token_head,
)
from vlp.interop.layout import Rule, layers, linear, prefixed, same
from vlp.interop.surplus import POSITIONS, Surplus, differ, settle, without_copies
from vlp.interop.tensors import Tensors
from vlp.interop.timm.layout import image_rules

_BERT = "text_encoder.bert."
_LAYER = f"{_BERT}encoder.layer."
_TOKENS = f"{_BERT}embeddings.word_embeddings.weight"
HEAD = "text_encoder.cls.predictions"
_HEAD_WIDTH = 64  # of attention in BERT and in the ViT of every size
TEACHER = (
    Surplus(r"(visual_encoder|text_encoder|text_decoder|vision_proj|text_proj)_m\..*",
            "of the momentum teacher"),
    Surplus(r"(image|text|idx)_queue|queue_ptr|ptr_queue", "a queue of the momentum teacher"),
)  # fmt: skip


def kwargs(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Keyword arguments of `Albef`, read off the tensors' shapes.

    Args:
        shapes: of all tensors, by the authors' names.

    Raises:
        KeyError: a tensor is not there.
    """
    text = text_kwargs(shapes, _BERT)
    numbers = range(text["depth"])
    fused = sum(f"{_LAYER}{i}.crossattention.self.query.weight" in shapes for i in numbers)
    kinds = shapes[f"{_BERT}embeddings.token_type_embeddings.weight"][0]
    return dict(
        image=image_kwargs(shapes),
        text=text | dict(num_types=kinds, depth=text["depth"] - fused),
        fusion=dict(depth=fused, num_heads=text["num_heads"], mlp_dim=text["mlp_dim"]),
        embed_dim=shapes["vision_proj.bias"][0],
        image_projection="linear_bias",
        text_projection="linear_bias",
        **({"tied_head": False} if f"{HEAD}.decoder.weight" in shapes else {}),
    )


def image_kwargs(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Those of the image tower, which is BLIP's too."""
    width, _, patch_size, _ = shapes["visual_encoder.patch_embed.proj.weight"]
    side = math.isqrt(shapes["visual_encoder.pos_embed"][1] - 1)
    return dict(
        image_size=side * patch_size,
        patch_size=patch_size,
        width=width,
        depth=count(shapes, "visual_encoder.blocks."),
        num_heads=heads(width),
        mlp_dim=shapes["visual_encoder.blocks.0.mlp.fc1.bias"][0],
        pool="cls",
    )


def text_kwargs(shapes: Mapping[str, tuple[int, ...]], bert: str) -> dict[str, Any]:
    """Those of a BERT whose names begin so."""
    vocab_size, width = shapes[f"{bert}embeddings.word_embeddings.weight"]
    return dict(
        kind="bert",
        vocab_size=vocab_size,
        length=shapes[f"{bert}embeddings.position_embeddings.weight"][0],
        width=width,
        depth=count(shapes, f"{bert}encoder.layer."),
        num_heads=heads(width),
        mlp_dim=shapes[f"{bert}encoder.layer.0.intermediate.dense.bias"][0],
        pooler=False,
    )


def rules(kwargs: Mapping[str, Any]) -> list[Rule]:
    """The names of tensors for complete keyword arguments."""
    text, tied = kwargs["text"], kwargs.get("tied_head", True)
    fused = layers(
        [*bert_block(), *bert_cross_attention()],
        ours="fusion/blocks",
        theirs=LAYER,
        first=text["depth"],  # they follow those of the text tower
        depth=kwargs["fusion"]["depth"],
    )
    return [
        *image_rules(kwargs["image"], prefix="visual_encoder."),
        *prefixed([*bert_text(text, types=True), *fused], theirs=_BERT),
        *linear("image_projection", "vision_proj"),
        *linear("text_projection", "text_proj"),
        *linear("match_head", "itm_head"),
        *bert_token_head("token_head", HEAD),
        *([] if tied else [same("token_head/table", f"{HEAD}.decoder.weight")]),
        temperature(),
    ]


def temperature() -> Rule:
    """The logarithm of the multiplier here, a divisor there."""
    return Rule(
        ("log_scale",),
        ("temp",),
        lambda divisor: [np.asarray(-np.log(divisor))],
        lambda log_scale: [np.asarray(np.exp(-log_scale))],
    )


def cleared(tensors: Tensors) -> Tensors:
    """Without the teacher, its queues, buffers and what is there twice."""
    tensors = settle(tensors, (*POSITIONS, *TEACHER))
    bias, table = f"{HEAD}.decoder.bias", f"{HEAD}.decoder.weight"
    tensors = without_copies(tensors, {bias: f"{HEAD}.bias"})
    return tensors if differ(tensors, table, _TOKENS) else without_copies(tensors, {table: _TOKENS})


def count(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    """How many layers have names that begin with the prefix and a number from 0.

    Raises:
        KeyError: there is none.
    """
    numbers = (name.removeprefix(prefix).partition(".")[0] for name in shapes if prefix in name)
    found = [int(number) for number in numbers if number.isdecimal()]
    if not found:
        raise KeyError(f"{prefix}0")
    return 1 + max(found)


def heads(width: int) -> int:
    """Attention heads of a tower of this width, in every size that was published."""
    return max(width // _HEAD_WIDTH, 1)
