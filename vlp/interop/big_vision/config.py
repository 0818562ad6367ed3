"""Our keyword arguments for an npz of big_vision: all that can be seen, is seen in its arrays.

What cannot be seen is as in the published models: pixels are those that the patches cover (378 for
So400m/14 at 384, which `image_size=384` says of it); images are pooled by attention where there is
such a head, by a class token where there is one, and by the mean otherwise; texts are pooled at the
last token (BERT: the first); GELU has its tanh form; a LayerNorm's epsilon is 1e-6 (BERT: 1e-12);
BERT's heads have 64 channels.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from vlp.interop.weights import Tensors

MEAN = STD = (0.5, 0.5, 0.5)
SIGLIP_VOCABULARY, SIGLIP_PAD = 32000, 1  # SigLIP pads with its end token
_ENCODERS = {"image": "img/Transformer", "text": "txt/Encoder_0"}
_BERT = "txt/BertEncoder_0"
_BERT_HEAD = 64


def kwargs(tensors: Tensors) -> dict[str, Any]:
    """Keyword arguments of `DualEncoder`.

    Args:
        tensors: names without a prefix, see `vlp.interop.big_vision.read`.

    Raises:
        ValueError: the arrays are not those of such a model.
    """
    shapes = tensors.shapes
    towers = {part: any(n.startswith(f"{part}/") for n in shapes) for part in ("img", "txt")}
    if not any(towers.values()):
        raise ValueError(
            f"{tensors.source} must hold arrays under img/ or txt/, as two_towers models of "
            "big_vision do, and holds none; is this another model?"
        )
    try:
        image = _image(shapes) if towers["img"] else None
        text = _text(shapes) if towers["txt"] else None
    except KeyError as error:
        raise ValueError(
            f"{tensors.source} must hold {error} as a model of big_vision does, and does not; "
            "is this the whole model?"
        ) from error
    projections = {part: f"{part}/head/kernel" in shapes for part in towers}
    return dict(
        image=image,
        text=text,
        embed_dim=_embed_dim(shapes, image, text),
        image_projection="linear_bias" if projections["img"] else "none",
        text_projection="linear_bias" if projections["txt"] else "none",
        image_mean=list(MEAN),
        image_std=list(STD),
        init_scale=10.0,
        init_bias=-10.0 if "b" in shapes else None,
    )


def scanned(tensors: Mapping[str, Any], tower: str) -> bool:
    """Whether the blocks of "image" or "text" are one with a leading axis."""
    return any(name.startswith(f"{_ENCODERS[tower]}/encoderblock/") for name in tensors)


def _image(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    patch_size = shapes["img/embedding/kernel"][0]
    count = shapes["img/pos_embedding"][1]
    side = math.isqrt(count)
    if count not in (side * side, side * side + 1) or len(shapes["img/pos_embedding"]) != 3:
        raise ValueError(
            f"img/pos_embedding must be [1, patches, width] with a square number of patches, got "
            f"{shapes['img/pos_embedding']}; models of images of any shape (NaFlex) are read from "
            "transformers' folders"
        )
    pool = "map" if "img/MAPHead_0/probe" in shapes else "cls" if "img/cls" in shapes else "mean"
    return dict(
        image_size=side * patch_size,
        patch_size=patch_size,
        **_sizes(shapes, _ENCODERS["image"]),
        pool=pool,
        activation="gelu_tanh",
        norm_eps=1e-6,
    )


def _text(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    if any(name.startswith(_BERT) for name in shapes):
        return _bert(shapes)
    vocab_size = shapes["txt/Embed_0/embedding"][0]
    return dict(
        vocab_size=vocab_size,
        length=shapes["txt/pos_embedding"][1],
        **_sizes(shapes, _ENCODERS["text"]),
        causal=False,
        pool="last",
        eos_id=1,
        pad_id=SIGLIP_PAD if vocab_size == SIGLIP_VOCABULARY else 0,
        activation="gelu_tanh",
        norm_eps=1e-6,
    )


def _bert(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    embedder = f"{_BERT}/embedder/embedders"
    vocab_size, width = shapes[f"{embedder}_token_ids/embedding"]
    layer = f"{_BERT}/encoder_block/layer_sequence/layers_"
    return dict(
        kind="bert",
        vocab_size=vocab_size,
        length=shapes[f"{embedder}_position_ids/embedding"][0],
        num_types=shapes[f"{embedder}_segment_ids/embedding"][0],
        width=width,
        depth=_count(shapes, layer),
        num_heads=width // _BERT_HEAD or 1,
        mlp_dim=shapes[f"{layer}0/mlp_block/mlp/dense_layer/kernel"][1],
        pool="cls",
        pooler=False,
        pad_id=0,
        activation="gelu_tanh",
        norm_eps=1e-12,
    )


def _sizes(shapes: Mapping[str, tuple[int, ...]], encoder: str) -> dict[str, int]:
    query = "MultiHeadDotProductAttention_0/query/kernel"
    hidden = "MlpBlock_0/Dense_0/kernel"
    stacked = f"{encoder}/encoderblock/{query}"
    if stacked in shapes:
        depth, width, num_heads, _ = shapes[stacked]
        mlp_dim = shapes[f"{encoder}/encoderblock/{hidden}"][2]
    else:
        depth = _count(shapes, f"{encoder}/encoderblock_")
        width, num_heads, _ = shapes[f"{encoder}/encoderblock_0/{query}"]
        mlp_dim = shapes[f"{encoder}/encoderblock_0/{hidden}"][1]
    return dict(width=width, depth=depth, num_heads=num_heads, mlp_dim=mlp_dim)


def _count(shapes: Mapping[str, Any], prefix: str) -> int:
    numbers = (re.match(rf"{re.escape(prefix)}(\d+)/", name) for name in shapes)
    return 1 + max((int(found[1]) for found in numbers if found), default=-1)


def _embed_dim(
    shapes: Mapping[str, tuple[int, ...]],
    image: Mapping[str, Any] | None,
    text: Mapping[str, Any] | None,
) -> int:
    for part in ("img", "txt"):
        if f"{part}/head/kernel" in shapes:
            return shapes[f"{part}/head/kernel"][1]
    tower = image or text
    return tower["width"] if tower else 0
