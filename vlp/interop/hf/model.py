"""A dual encoder as configuration and tensors of transformers' `CLIPModel` or `SiglipModel`.

Nothing here needs PyTorch: both are plain data. What the two classes can express without changing a
result is written (a patch bias that `CLIPModel` lacks goes into its positions, a missing projection
becomes the identity); everything else is refused by name.
"""

from typing import Any

import jax
import numpy as np
from flax import nnx

from vlp.models import DualEncoder
from vlp.nn.positions import sincos_2d

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
}
_LEGACY_EOS = 2  # transformers pools at the largest id, not at the end token, for this id

# setting: what CLIPModel and SiglipModel accept, the first being what the paper used.
_CLIP = {
    "image.pool": ("cls",),
    "image.pre_norm": (True,),
    "text.causal": (True,),
    "text.pool": ("eot",),
    "image_projection": ("linear", "none"),
    "text_projection": ("linear", "none"),
    "init_bias": (None,),
}
_SIGLIP = {
    "image.pool": ("map",),
    "image.pre_norm": (False,),
    "text.causal": (False,),
    "text.mask_padding": (False,),
    "text.pool": ("last",),
    "image_projection": ("none",),
    "text_projection": ("linear_bias", "linear", "none"),
}


def model_class(model: DualEncoder) -> str:
    """The class of transformers that computes what `model` does: CLIPModel or SiglipModel.

    Raises:
        ValueError: Neither does; names every setting in the way and what would be accepted.
    """
    settings = _settings(model)
    siglip = settings["image.pool"] == "map"
    name, accepted = ("SiglipModel", _SIGLIP) if siglip else ("CLIPModel", _CLIP)
    wrong = [
        f"{setting}={settings[setting]!r} (accepted: {' or '.join(map(repr, values))})"
        for setting, values in accepted.items()
        if settings[setting] not in values
    ]
    if not siglip and model.text.eos_id == _LEGACY_EOS:
        wrong.append("text.eos_id=2 (accepted: any other id; 2 means another pooling there)")
    if wrong:
        raise ValueError(
            f"the model must have the shape of transformers' {name}, got {'; '.join(wrong)}; "
            "train with these settings (dual_encoder_preset has both shapes) or keep to vlp.load"
        )
    return name


def model_config(model: DualEncoder) -> dict[str, Any]:
    """The content of `config.json`."""
    siglip = model_class(model) == "SiglipModel"
    image, text, kind = model.image, model.text, "siglip" if siglip else "clip"
    embed_dim = model.kwargs["embed_dim"]
    # Each class that reads part of this folder looks for the width in another place.
    width = {"projection_dim": embed_dim}
    special = {"pad_token_id": text.pad_id, "bos_token_id": None, "eos_token_id": text.eos_id}
    config: dict[str, Any] = {
        "architectures": ["SiglipModel" if siglip else "CLIPModel"],
        "model_type": kind,
        "dtype": "float32",
        "torch_dtype": "float32",
        "initializer_factor": 1.0,
        "text_config": {
            "model_type": f"{kind}_text_model",
            "vocab_size": text.vocab_size,
            "max_position_embeddings": text.length,
            **_tower(text),
            **special,
            **({"projection_size": embed_dim} if siglip else width),
        },
        "vision_config": {
            "model_type": f"{kind}_vision_model",
            "image_size": image.image_size,
            "patch_size": image.patch_size,
            "num_channels": 3,
            **_tower(image),
            **({"vision_use_head": True} if siglip else width),
        },
    }
    if not siglip:
        scale = float(model.log_scale[...])
        config |= {**width, "logit_scale_init_value": scale}
    return config


def model_tensors(model: DualEncoder) -> dict[str, np.ndarray]:
    """The content of `model.safetensors`, float32, as `[out, in]` matrices."""
    siglip = model_class(model) == "SiglipModel"
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), _pure(model))
    tensors = _vision(model, params["image"], siglip=siglip) | _text(params["text"])
    width = model.kwargs["embed_dim"]
    if siglip:
        head = _projection(params.get("text_projection"), width)
        head.setdefault("bias", np.zeros(width, np.float32))
        tensors |= _named("text_model.head", head)
        tensors["logit_bias"] = np.reshape(params.get("bias", np.float32(0)), (1,))
        tensors["logit_scale"] = params["log_scale"].reshape(1)
    else:
        for ours, theirs in (("image_projection", "visual"), ("text_projection", "text")):
            matrix = _projection(params.get(ours), width)
            tensors |= _named(f"{theirs}_projection", matrix)
        tensors["logit_scale"] = params["log_scale"]
    # Not ascontiguousarray: that makes a vector of a scalar.
    return {name: np.array(tensor, np.float32, order="C") for name, tensor in tensors.items()}


def _settings(model: DualEncoder) -> dict[str, Any]:
    """The settings that decide the shape, by dotted name, read from the built model."""
    return {
        "image.pool": model.image.pool,
        "image.pre_norm": model.image.pre_norm is not None,
        "text.causal": model.text.stack.blocks.attention.causal,
        "text.mask_padding": model.text.mask_padding,
        "text.pool": model.text.pool,
        "image_projection": model.kwargs["image_projection"],
        "text_projection": model.kwargs["text_projection"],
        "init_bias": model.kwargs["init_bias"],
    }


def _tower(tower: Any) -> dict[str, Any]:
    block = tower.stack.blocks
    return {
        "hidden_size": tower.width,
        "intermediate_size": block.mlp.up.bias[...].shape[-1],
        "num_hidden_layers": tower.stack.depth,
        "num_attention_heads": block.attention.num_heads,
        "hidden_act": ACTIVATIONS[block.mlp.activation],
        "layer_norm_eps": tower.norm.eps,
        "attention_dropout": 0.0,
    }


def _pure(model: DualEncoder) -> dict[str, Any]:
    return nnx.to_pure_dict(nnx.split(model, nnx.Param, ...)[1])


def _vision(model: DualEncoder, params: dict[str, Any], *, siglip: bool) -> dict[str, np.ndarray]:
    image, name = model.image, "vision_model"
    patches = params["patches"]["linear"]
    size, width = image.patch_size, image.width
    kernel = patches["kernel"].reshape(size, size, 3, width).transpose(3, 2, 0, 1)
    bias = patches.get("bias", np.zeros(width, np.float32))
    positions = np.concatenate([np.asarray(table) for table in _positions(image)])
    tensors = {f"{name}.embeddings.patch_embedding.weight": kernel}
    if siglip:
        tensors[f"{name}.embeddings.patch_embedding.bias"] = bias
        tensors |= _attention_pool(f"{name}.head", params["head"])
    else:
        positions[1:] += bias  # CLIPModel has no patch bias, and adds positions right after it
        tensors[f"{name}.embeddings.class_embedding"] = params["class_token"]
        tensors |= _named(f"{name}.pre_layrnorm", _norm(params["pre_norm"]))  # their spelling
    tensors[f"{name}.embeddings.position_embedding.weight"] = positions
    tensors |= _named(f"{name}.post_layernorm", _norm(params["norm"]))
    return tensors | _blocks(f"{name}.encoder.layers", params["stack"]["blocks"])


def _positions(image: Any) -> list[np.ndarray]:
    """Positions of the class token, where there is one, and of the patches."""
    if image.positions is not None:
        return [np.asarray(image.positions[...], np.float32)]
    side = image.image_size // image.patch_size
    table = np.asarray(sincos_2d(side, side, image.width), np.float32)
    first = np.zeros((1 if image.pool == "cls" else 0, image.width), np.float32)
    return [first, table]


def _text(params: dict[str, Any]) -> dict[str, np.ndarray]:
    return {
        "text_model.embeddings.token_embedding.weight": params["tokens"],
        "text_model.embeddings.position_embedding.weight": params["positions"],
        **_blocks("text_model.encoder.layers", params["stack"]["blocks"]),
        **_named("text_model.final_layer_norm", _norm(params["norm"])),
    }


def _blocks(name: str, stacked: dict[str, Any]) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    for layer in range(len(stacked["norm1"]["scale"])):
        block = jax.tree.map(lambda leaf, layer=layer: leaf[layer], stacked)
        parts = {
            "layer_norm1": _norm(block["norm1"]),
            "layer_norm2": _norm(block["norm2"]),
            "self_attn.out_proj": _linear(block["attention"]["out"]),
            "mlp.fc1": _linear(block["mlp"]["up"]),
            "mlp.fc2": _linear(block["mlp"]["down"]),
        }
        qkv = _linear(block["attention"]["qkv"])
        for i, part in enumerate("qkv"):
            thirds = {key: np.split(value, 3)[i] for key, value in qkv.items()}
            parts[f"self_attn.{part}_proj"] = thirds
        for part, tensor in parts.items():
            tensors |= _named(f"{name}.{layer}.{part}", tensor)
    return tensors


def _attention_pool(name: str, head: dict[str, Any]) -> dict[str, np.ndarray]:
    query, key_value = _linear(head["query"]), _linear(head["key_value"])
    return {
        f"{name}.probe": head["probe"].reshape(1, 1, -1),
        f"{name}.attention.in_proj_weight": np.concatenate([query["weight"], key_value["weight"]]),
        f"{name}.attention.in_proj_bias": np.concatenate([query["bias"], key_value["bias"]]),
        **_named(f"{name}.attention.out_proj", _linear(head["out"])),
        **_named(f"{name}.layernorm", _norm(head["norm"])),
        **_named(f"{name}.mlp.fc1", _linear(head["mlp"]["up"])),
        **_named(f"{name}.mlp.fc2", _linear(head["mlp"]["down"])),
    }


def _projection(params: dict[str, Any] | None, width: int) -> dict[str, np.ndarray]:
    return _linear(params) if params else {"weight": np.eye(width, dtype=np.float32)}


def _linear(params: dict[str, Any]) -> dict[str, np.ndarray]:
    tensors = {"weight": params["kernel"].T}
    return tensors | ({"bias": params["bias"]} if "bias" in params else {})


def _norm(params: dict[str, Any]) -> dict[str, np.ndarray]:
    return {"weight": params["scale"], "bias": params["bias"]}


def _named(name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}
