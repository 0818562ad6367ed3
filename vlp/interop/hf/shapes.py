"""Names and shapes of the tensors of transformers' `CLIPModel` and `SiglipModel`, by configuration.

Loading by name forgives nothing: a scale of shape `[1]` where a scalar belongs is refused there. So
the numpy reference asks for exactly these.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

Shapes = dict[str, tuple[int, ...]]


def check_tensors(tensors: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> None:
    """Raises ValueError unless `tensors` are those of the model of `config`, in float32."""
    wanted = tensor_shapes(config)
    wrong = [
        name
        for name in sorted(wanted.keys() | tensors.keys())
        if name not in tensors
        or tensors[name].shape != wanted.get(name)
        or tensors[name].dtype != np.float32
    ]
    if wrong:
        name = wrong[0]
        found = tensors[name].shape if name in tensors else "nothing"
        raise ValueError(
            f"model.safetensors must hold what config.json describes, {len(wrong)} tensors do not "
            f"fit: {name} should be {wanted.get(name, 'absent')}, is {found}; export again"
        )


def tensor_shapes(config: Mapping[str, Any]) -> Shapes:
    """Name -> shape of every tensor of the model that `config.json` describes."""
    siglip = config["model_type"] == "siglip"
    text, vision = config["text_config"], config["vision_config"]
    shapes = _vision(vision, siglip=siglip) | _text(text)
    if siglip:
        head = _linear("text_model.head", text["hidden_size"], text["projection_size"])
        return shapes | head | {"logit_scale": (1,), "logit_bias": (1,)}
    width = config["projection_dim"]
    return shapes | {
        "visual_projection.weight": (width, vision["hidden_size"]),
        "text_projection.weight": (width, text["hidden_size"]),
        "logit_scale": (),
    }


def _vision(config: Mapping[str, Any], *, siglip: bool) -> Shapes:
    width, patch = config["hidden_size"], config["patch_size"]
    patches = (config["image_size"] // patch) ** 2
    name = "vision_model.embeddings"
    shapes: Shapes = {
        f"{name}.patch_embedding.weight": (width, 3, patch, patch),
        f"{name}.position_embedding.weight": (patches + (not siglip), width),
        **_norm("vision_model.post_layernorm", width),
        **_layers("vision_model", config),
    }
    if not siglip:
        shapes |= _norm("vision_model.pre_layrnorm", width)
        return shapes | {f"{name}.class_embedding": (width,)}
    head = "vision_model.head"
    return shapes | {
        f"{name}.patch_embedding.bias": (width,),
        f"{head}.probe": (1, 1, width),
        f"{head}.attention.in_proj_weight": (3 * width, width),
        f"{head}.attention.in_proj_bias": (3 * width,),
        **_linear(f"{head}.attention.out_proj", width, width),
        **_norm(f"{head}.layernorm", width),
        **_mlp(f"{head}.mlp", config),
    }


def _text(config: Mapping[str, Any]) -> Shapes:
    width, name = config["hidden_size"], "text_model.embeddings"
    return {
        f"{name}.token_embedding.weight": (config["vocab_size"], width),
        f"{name}.position_embedding.weight": (config["max_position_embeddings"], width),
        **_norm("text_model.final_layer_norm", width),
        **_layers("text_model", config),
    }


def _layers(tower: str, config: Mapping[str, Any]) -> Shapes:
    shapes: Shapes = {}
    width = config["hidden_size"]
    for layer in range(config["num_hidden_layers"]):
        name = f"{tower}.encoder.layers.{layer}"
        shapes |= _norm(f"{name}.layer_norm1", width) | _norm(f"{name}.layer_norm2", width)
        shapes |= _mlp(f"{name}.mlp", config)
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{name}.self_attn.{part}", width, width)
    return shapes


def _mlp(name: str, config: Mapping[str, Any]) -> Shapes:
    width, hidden = config["hidden_size"], config["intermediate_size"]
    return _linear(f"{name}.fc1", width, hidden) | _linear(f"{name}.fc2", hidden, width)


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
