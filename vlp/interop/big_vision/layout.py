"""Names of arrays in big_vision's npz files of `two_towers` models."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from vlp.interop.layout import Rule, layers, same

WEIGHTS = "model.npz"  # the file of a folder that `vlp export` writes


def rules(
    kwargs: Mapping[str, Any], *, scanned: Mapping[str, bool], joined_class: bool = False
) -> list[Rule]:
    """The names for complete keyword arguments.

    Args:
        kwargs: of `DualEncoder`.
        scanned: for "image" and "text", whether the blocks of a tower are one with a leading axis.
        joined_class: whether the class token has a position of its own, as in old files.
    """
    image, text = kwargs["image"], kwargs["text"]
    rules: list[Rule] = []
    if image:
        rules += _image(kwargs, scanned=scanned["image"], joined_class=joined_class)
    if text:
        rules += _text(kwargs, scanned=scanned["text"])
    if image and text:
        rules.append(same("log_scale", "t", axes=1))
        rules += [same("bias", "b", axes=1)] if kwargs["init_bias"] is not None else []
    return rules


def joined(ours: str, theirs: Iterable[str], *, num_heads: int | None = None) -> list[Rule]:
    """Layers that are one here, such as q, k and v; with heads, their outputs are cut into those
    there."""
    names = list(theirs)

    def read(*tensors: np.ndarray, keep: int) -> list[np.ndarray]:
        return [np.concatenate([t.reshape(*t.shape[:keep], -1) for t in tensors], axis=-1)]

    def write(array: np.ndarray) -> list[np.ndarray]:
        parts = np.split(array, len(names), axis=-1)
        cut = (num_heads,) if num_heads else ()
        return [part.reshape(*part.shape[:-1], *cut, -1) for part in parts]

    return [
        Rule(
            (f"{ours}/{leaf}",),
            tuple(f"{name}/{leaf}" for name in names),
            partial(read, keep=keep),
            write,
        )
        for leaf, keep in (("kernel", 1), ("bias", 0))
    ]


def from_heads(ours: str, theirs: str, *, num_heads: int) -> list[Rule]:
    """A layer whose inputs are cut into heads there."""
    return [
        Rule(
            (f"{ours}/kernel",),
            (f"{theirs}/kernel",),
            lambda tensor: [tensor.reshape(-1, tensor.shape[-1])],
            lambda array: [array.reshape(num_heads, -1, array.shape[-1])],
        ),
        same(f"{ours}/bias", f"{theirs}/bias"),
    ]


def dense(ours: str, theirs: str, *, leaves: Iterable[str] = ("kernel", "bias")) -> list[Rule]:
    """A layer that is the same here and there; likewise for the others with these leaves."""
    return [same(f"{ours}/{leaf}", f"{theirs}/{leaf}") for leaf in leaves]


layer_norm = partial(dense, leaves=("scale", "bias"))


def _image(kwargs: Mapping[str, Any], *, scanned: bool, joined_class: bool) -> list[Rule]:
    image, size = kwargs["image"], kwargs["image"]["patch_size"]
    embedding = Rule(
        ("image/patches/linear/kernel",),
        ("img/embedding/kernel",),
        lambda tensor: [tensor.reshape(-1, tensor.shape[-1])],
        lambda array: [array.reshape(size, size, 3, -1)],
    )
    head = dense("image_projection", "img/head")
    return [
        embedding,
        same("image/patches/linear/bias", "img/embedding/bias"),
        *_positions(class_token=image["pool"] == "cls", joined=joined_class),
        *_encoder(image, "image", "img/Transformer", scanned=scanned),
        *(_map_head(image) if image["pool"] == "map" else []),
        *(head if kwargs["image_projection"] == "linear_bias" else []),
    ]


def _text(kwargs: Mapping[str, Any], *, scanned: bool) -> list[Rule]:
    text = kwargs["text"]
    head = dense("text_projection", "txt/head")
    projection = head if kwargs["text_projection"] == "linear_bias" else []
    if text["kind"] == "bert":
        return [*_bert(text), *projection]
    return [
        same("text/tokens", "txt/Embed_0/embedding"),
        same("text/positions", "txt/pos_embedding", axes=1),
        *_encoder(text, "text", "txt/Encoder_0", scanned=scanned),
        *projection,
    ]


def _positions(*, class_token: bool, joined: bool) -> list[Rule]:
    position = same("image/positions", "img/pos_embedding", axes=1)
    if not class_token:
        return [position]
    if joined:
        return [position, same("image/class_token", "img/cls", axes=2)]

    # There the class token has no position: here it has one, zero, or is written as the sum.
    def read(token: np.ndarray, table: np.ndarray) -> list[np.ndarray]:
        return [token[0, 0], np.concatenate([np.zeros_like(token[0]), table[0]])]

    def write(token: np.ndarray, table: np.ndarray) -> list[np.ndarray]:
        return [(token + table[0])[None, None], table[None, 1:]]

    return [
        Rule(
            ("image/class_token", "image/positions"), ("img/cls", "img/pos_embedding"), read, write
        )
    ]


def _encoder(tower: Mapping[str, Any], ours: str, theirs: str, *, scanned: bool) -> list[Rule]:
    blocks, depth = _block(tower["num_heads"]), tower["depth"]
    place = f"{ours}/stack/blocks"
    if scanned:
        stacked = [_scanned(rule, place, f"{theirs}/encoderblock") for rule in blocks]
    else:
        theirs_of_one = f"{theirs}/encoderblock_{{}}"
        stacked = layers(blocks, ours=place, theirs=theirs_of_one, depth=depth, between="/")
    return [*stacked, *layer_norm(f"{ours}/norm", f"{theirs}/encoder_norm")]


def _block(num_heads: int) -> list[Rule]:
    attention = "MultiHeadDotProductAttention_0"
    parts = [f"{attention}/{part}" for part in ("query", "key", "value")]
    return [
        *layer_norm("norm1", "LayerNorm_0"),
        *joined("attention/qkv", parts, num_heads=num_heads),
        *from_heads("attention/out", f"{attention}/out", num_heads=num_heads),
        *layer_norm("norm2", "LayerNorm_1"),
        *dense("mlp/up", "MlpBlock_0/Dense_0"),
        *dense("mlp/down", "MlpBlock_0/Dense_1"),
    ]


def _map_head(image: Mapping[str, Any]) -> list[Rule]:
    ours, theirs, count = "image/head", "img/MAPHead_0", image["num_heads"]
    attention = f"{theirs}/MultiHeadDotProductAttention_0"
    key_value = [f"{attention}/key", f"{attention}/value"]
    return [
        same(f"{ours}/probe", f"{theirs}/probe", axes=2),
        *joined(f"{ours}/query", [f"{attention}/query"], num_heads=count),
        *joined(f"{ours}/key_value", key_value, num_heads=count),
        *from_heads(f"{ours}/out", f"{attention}/out", num_heads=count),
        *layer_norm(f"{ours}/norm", f"{theirs}/LayerNorm_0"),
        *dense(f"{ours}/mlp/up", f"{theirs}/MlpBlock_0/Dense_0"),
        *dense(f"{ours}/mlp/down", f"{theirs}/MlpBlock_0/Dense_1"),
    ]


def _bert(text: Mapping[str, Any]) -> list[Rule]:
    """Flaxformer's `BertEncoder`, the text tower of LiT, whose heads are not cut."""
    theirs, attention = "txt/BertEncoder_0", "attention_block"
    parts = [f"{attention}/attention_layer/{part}" for part in ("query", "key", "value")]
    layer = [
        *joined("attention/qkv", parts),
        *dense("attention/out", f"{attention}/dense_layer"),
        *layer_norm("norm1", f"{attention}/layer_norm"),
        *dense("mlp/up", "mlp_block/mlp/dense_layer"),
        *dense("mlp/down", "mlp_block/dense_layer"),
        *layer_norm("norm2", "mlp_block/layer_norm"),
    ]
    tables = {"tokens": "token", "positions": "position", "types": "segment"}
    sequence = f"{theirs}/encoder_block/layer_sequence/layers_{{}}"
    return [
        *(
            same(f"text/{ours}", f"{theirs}/embedder/embedders_{name}_ids/embedding")
            for ours, name in tables.items()
        ),
        *layer_norm("text/embed_norm", f"{theirs}/layer_norm"),
        *layers(layer, ours="text/stack/blocks", theirs=sequence, depth=text["depth"], between="/"),
    ]


def _scanned(rule: Rule, ours: str, theirs: str) -> Rule:
    """The rule of a layer for all at once: stacked on both sides."""

    def read(*tensors: np.ndarray) -> list[np.ndarray]:
        return [np.stack(parts) for parts in zip(*map(rule.read, *tensors), strict=True)]

    def write(*arrays: np.ndarray) -> list[np.ndarray]:
        return [np.stack(parts) for parts in zip(*map(rule.write, *arrays), strict=True)]

    return Rule(
        tuple(f"{ours}/{name}" for name in rule.ours),
        tuple(f"{theirs}/{name}" for name in rule.theirs),
        read,
        write,
    )
