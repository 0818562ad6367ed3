"""CLIP and SigLIP as transformers computes them, in numpy, from an exported folder alone.

A second opinion for machines without PyTorch: what it computes shares no line with the JAX model,
it knows nothing but the files that any consumer reads, and the second test suite holds it against
transformers.

References:
    Radford et al. 2021 (CLIP), Zhai et al. 2023 (SigLIP), as laid out by the classes `CLIPModel`
    and `SiglipModel` of transformers.
"""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from jaxtyping import Float, Int
from safetensors.numpy import load_file
from scipy.special import erf, expit

from vlp.interop.adapt import complete
from vlp.interop.hf import clip, siglip
from vlp.interop.hf.plain import PlainReader
from vlp.interop.layout import check_shapes, tensor_shapes
from vlp.interop.loaded import param_shapes
from vlp.interop.weights import read_json_object

Tensors = dict[str, np.ndarray]


class ReferenceModel(PlainReader):
    """An exported folder, ready to read pictures and captions and to embed them.

    Args:
        folder: what `vlp export --to=hf` writes.

    Raises:
        ValueError: tensors are missing, too many, or of another shape than `config.json` says.
    """

    name = "numpy reference"
    versions = {"numpy": np.__version__, "tokenizers": tokenizers.__version__}

    def __init__(self, folder: str | os.PathLike) -> None:
        super().__init__(folder)
        self.config = read_json_object(self.folder / "config.json")
        self.tensors = load_file(self.folder / "model.safetensors")
        self.siglip = self.config["model_type"] == "siglip"
        module = siglip if self.siglip else clip
        kwargs = module.kwargs(self.config, self.tensors)
        wanted = tensor_shapes(module.rules(complete(kwargs)), param_shapes(kwargs))
        check_shapes(self.tensors, wanted)

    def forward(
        self, pixels: Float[np.ndarray, "n 3 h w"] | None, ids: Int[np.ndarray, "m l"] | None
    ) -> dict[str, np.ndarray]:
        """Image embeddings, text embeddings (both of unit norm) and logits."""
        if pixels is None or ids is None:
            raise ValueError("the numpy reading needs both towers; check with transformers")
        zimg, ztxt = self.image_embeds(pixels), self.text_embeds(ids)
        logits = zimg @ ztxt.T * np.exp(self.tensors["logit_scale"])
        logits = logits + self.tensors["logit_bias"] if self.siglip else logits
        return {"image_embeds": zimg, "text_embeds": ztxt, "logits": logits}

    def image_embeds(self, pixels: Float[np.ndarray, "n 3 h w"]) -> Float[np.ndarray, "n d"]:
        """Unit-norm embeddings of normalised pixels."""
        config, tensors = self.config["vision_config"], self.tensors
        patches = _patches(pixels, config["patch_size"])
        kernel = tensors["vision_model.embeddings.patch_embedding.weight"]
        tokens = patches @ kernel.reshape(len(kernel), -1).T
        position = tensors["vision_model.embeddings.position_embedding.weight"]
        if self.siglip:
            tokens = tokens + tensors["vision_model.embeddings.patch_embedding.bias"] + position
            tokens = _encoder(tokens, tensors, "vision_model", config, causal=False)
            tokens = _layer_norm(tokens, tensors, "vision_model.post_layernorm", config)
            return _unit(_attention_pool(tokens, tensors, config))
        first = np.broadcast_to(
            tensors["vision_model.embeddings.class_embedding"], (len(tokens), 1, tokens.shape[-1])
        )
        tokens = np.concatenate([first, tokens], axis=1) + position
        tokens = _layer_norm(tokens, tensors, "vision_model.pre_layrnorm", config)
        tokens = _encoder(tokens, tensors, "vision_model", config, causal=False)
        pooled = _layer_norm(tokens[:, 0], tensors, "vision_model.post_layernorm", config)
        return _unit(pooled @ tensors["visual_projection.weight"].T)

    def text_embeds(self, ids: Int[np.ndarray, "n l"]) -> Float[np.ndarray, "n d"]:
        """Unit-norm embeddings of padded token ids."""
        config, tensors = self.config["text_config"], self.tensors
        tokens = tensors["text_model.embeddings.token_embedding.weight"][ids]
        tokens = tokens + tensors["text_model.embeddings.position_embedding.weight"][: ids.shape[1]]
        tokens = _encoder(tokens, tensors, "text_model", config, causal=not self.siglip)
        tokens = _layer_norm(tokens, tensors, "text_model.final_layer_norm", config)
        if self.siglip:
            return _unit(_linear(tokens[:, -1], tensors, "text_model.head"))
        # transformers takes 2 for "the true id is unknown" and pools at the largest id instead.
        ends = ids if config["eos_token_id"] == 2 else ids == config["eos_token_id"]
        pooled = tokens[np.arange(len(ids)), ends.argmax(axis=1)]
        return _unit(pooled @ tensors["text_projection.weight"].T)


def can_read(folder: Path) -> bool:
    """Whether a folder holds both towers of one of the two classes."""
    return read_json_object(folder / "config.json").get("model_type") in ("clip", "siglip")


def _patches(pixels: np.ndarray, size: int) -> np.ndarray:
    """`[n, 3, h, w]` -> `[n, patches, 3 * size * size]`, in the order of a convolution's kernel."""
    n, channels, height, width = pixels.shape
    rows, columns = height // size, width // size
    whole = pixels[:, :, : rows * size, : columns * size]
    grid = whole.reshape(n, channels, rows, size, columns, size)
    return grid.transpose(0, 2, 4, 1, 3, 5).reshape(n, -1, channels * size * size)


def _encoder(
    tokens: np.ndarray, tensors: Tensors, tower: str, config: dict[str, Any], *, causal: bool
) -> np.ndarray:
    length = tokens.shape[1]
    mask = np.triu(np.full((length, length), -np.inf, np.float32), k=1) if causal else None
    for layer in range(config["num_hidden_layers"]):
        name = f"{tower}.encoder.layers.{layer}"
        normed = _layer_norm(tokens, tensors, f"{name}.layer_norm1", config)
        query, key, value = (
            _linear(normed, tensors, f"{name}.self_attn.{part}_proj") for part in "qkv"
        )
        mixed = _attention(query, key, value, heads=config["num_attention_heads"], mask=mask)
        tokens = tokens + _linear(mixed, tensors, f"{name}.self_attn.out_proj")
        normed = _layer_norm(tokens, tensors, f"{name}.layer_norm2", config)
        tokens = tokens + _mlp(normed, tensors, f"{name}.mlp", config)
    return tokens


def _attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, *, heads: int, mask: np.ndarray | None
) -> np.ndarray:
    """Softmax attention of `[n, q, w]` over `[n, k, w]`, the width cut into `heads`."""
    query, key, value = (
        x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3) for x in (query, key, value)
    )
    scores = query @ key.transpose(0, 1, 3, 2) * np.float32(query.shape[-1] ** -0.5)
    if mask is not None:
        scores = scores + mask
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
    return mixed.transpose(0, 2, 1, 3).reshape(len(mixed), mixed.shape[2], -1)


def _attention_pool(tokens: np.ndarray, tensors: Tensors, config: dict[str, Any]) -> np.ndarray:
    """One learned query looks at all tokens; then a residual MLP (SigLIP's pooling head)."""
    head = "vision_model.head"
    weight = np.split(tensors[f"{head}.attention.in_proj_weight"], 3)
    bias = np.split(tensors[f"{head}.attention.in_proj_bias"], 3)
    probe = np.repeat(tensors[f"{head}.probe"], len(tokens), axis=0)
    query, key, value = (
        x @ w.T + b for x, w, b in zip((probe, tokens, tokens), weight, bias, strict=True)
    )
    heads = config["num_attention_heads"]
    pooled = _attention(query, key, value, heads=heads, mask=None)
    pooled = _linear(pooled, tensors, f"{head}.attention.out_proj")
    normed = _layer_norm(pooled, tensors, f"{head}.layernorm", config)
    return (pooled + _mlp(normed, tensors, f"{head}.mlp", config))[:, 0]


def _mlp(x: np.ndarray, tensors: Tensors, name: str, config: dict[str, Any]) -> np.ndarray:
    hidden = _ACTIVATIONS[config["hidden_act"]](_linear(x, tensors, f"{name}.fc1"))
    return _linear(hidden, tensors, f"{name}.fc2")


def _linear(x: np.ndarray, tensors: Tensors, name: str) -> np.ndarray:
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def _layer_norm(x: np.ndarray, tensors: Tensors, name: str, config: dict[str, Any]) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt(variance + np.float32(config["layer_norm_eps"]))
    return normed * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * np.float32(0.5) * (1 + erf(x * np.float32(2**-0.5)))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    inner = np.float32((2 / math.pi) ** 0.5) * (x + np.float32(0.044715) * x**3)
    return x * np.float32(0.5) * (1 + np.tanh(inner))


def _quick_gelu(x: np.ndarray) -> np.ndarray:
    return x * expit(np.float32(1.702) * x)


_ACTIVATIONS = {
    "gelu": _gelu,
    "gelu_pytorch_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * expit(x),
}
