"""`BertModel`: config.json, our keyword arguments, and the names of tensors."""

import re
from collections.abc import Mapping
from typing import Any

from vlp.interop.hf.names import TEXT, bert_config, bert_text, tower_kwargs
from vlp.interop.layout import Rule, linear
from vlp.interop.surplus import POSITIONS, Surplus, settle
from vlp.interop.tensors import Tensors

NAME = "BertModel"
OBJECTIVE = "clip"
ACCEPTED = {
    "text.kind": ("bert",),
    "text.pool": ("cls",),
    "text_projection": ("none",),
}
# What the class assumes where a config says nothing: the sizes of bert-base.
_DEFAULTS = dict(
    vocab_size=30522, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
    num_attention_heads=12, max_position_embeddings=512, type_vocab_size=2, hidden_act="gelu",
    layer_norm_eps=1e-12, pad_token_id=0,
)  # fmt: skip
_TYPES = dict(num_types="type_vocab_size")
_HEADS = Surplus(r"(cls|classifier|qa_outputs)\..*", "a head of the task that it was trained for")
_KINDS = Surplus(r".*token_type_ids", "zeros", lambda tensors, name: not tensors[name].any())
_OLD_NORMS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def accepted(kwargs: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What the class can hold, see `vlp.interop.adapt`."""
    return ACCEPTED


def kwargs(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `DualEncoder` for the text tower alone.

    Raises:
        ValueError: the config is of a decoder, or of positions other than absolute ones.
    """
    config = _DEFAULTS | dict(config)
    expected = {
        "is_decoder": False,
        "add_cross_attention": False,
        "position_embedding_type": "absolute",
    }
    for key, value in expected.items():
        if config.get(key, value) != value:
            raise ValueError(f"{key} of a BertModel must be {value!r}, got {config[key]!r}")
    return dict(
        image=None,
        text=dict(
            kind="bert",
            **tower_kwargs(config, **TEXT, **_TYPES),
            pad_id=config["pad_token_id"],
            pool="cls",
            pooler="pooler.dense.weight" in tensors,
        ),
        embed_dim=config["hidden_size"],
        text_projection="none",
    )


def config(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """`config.json` for complete keyword arguments."""
    text = kwargs["text"]
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        **bert_config(text, **_TYPES),
        "pad_token_id": text["pad_id"],
    }


def rules(kwargs: Mapping[str, Any]) -> list[Rule]:
    """The names of tensors for complete keyword arguments."""
    text = kwargs["text"]
    pooler = linear("text/pooler", "pooler.dense") if text["pooler"] else []
    return [*bert_text(text, types=True), *pooler]


def cleared(tensors: Tensors) -> Tensors:
    """The tensors of `BertModel`, without buffers and the heads of its descendants."""
    return settle(tensors, (*POSITIONS, _KINDS, _HEADS)).renamed(_renamed)


def _renamed(name: str) -> str:
    old = re.search("LayerNorm.(gamma|beta)$", name)
    name = name if old is None else name[: old.start()] + _OLD_NORMS[old.group()]
    return name.removeprefix("bert.")
