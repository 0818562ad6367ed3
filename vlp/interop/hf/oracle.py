"""An exported folder, read by transformers itself. Needs PyTorch; nothing else in `vlp` does."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import transformers
from jaxtyping import Int
from PIL import Image
from safetensors import safe_open
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel, SiglipModel

from vlp.interop.parity import Reader
from vlp.interop.weights import read_json_object
from vlp.models.naflex import NaflexImages

# Named so that an installation that cannot load them fails here, at the import.
CLASSES = (CLIPModel, SiglipModel)


class TransformersReader(Reader):
    """An exported folder behind the class its config names, pictures resized by Pillow.

    Args:
        folder: what `vlp export --to=hf` writes.
    """

    name = "transformers"
    versions = {"torch": str(torch.__version__), "transformers": transformers.__version__}

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        config = read_json_object(self.folder / "config.json")
        self.kind = config["model_type"]
        make = getattr(transformers, config["architectures"][0])
        with safe_open(self.folder / "model.safetensors", framework="numpy") as file:
            pooled = any("pooler" in name for name in file.keys())
        # What a model without its pooler lacks is no loss.
        extra = {"add_pooling_layer": False} if self.kind in _POOLED and not pooled else {}
        self.model, loading = make.from_pretrained(
            self.folder,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **extra,
            **_LOCAL,
        )
        problems = {key: names for key, names in loading.items() if names}
        if problems:
            raise ValueError(
                f"transformers must find every tensor of {make.__name__} and no other, "
                f"got {problems}; please report this"
            )
        self.model.eval()

    def pixels(self, images: Sequence[Image.Image]) -> Any:
        """Normalised pixels of pictures."""
        # Pillow's resize, as in training; that of torchvision is up to 17 levels off at hard edges.
        processor = AutoImageProcessor.from_pretrained(self.folder, backend="pil", **_LOCAL)
        read = processor(images=list(images), return_tensors="np")
        pixels = np.asarray(read["pixel_values"], np.float32)
        if "spatial_shapes" not in read:
            return pixels
        names = ("pixel_attention_mask", "spatial_shapes")
        mask, grid = (np.asarray(read[name]) for name in names)
        return NaflexImages(*map(jnp.asarray, (pixels, mask.astype(bool), grid.astype(np.int32))))

    def ids(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"] | None:
        """Padded token ids of captions; None where the folder brings no tokenizer."""
        if not (self.folder / "tokenizer_config.json").is_file():
            return None
        tokenizer = AutoTokenizer.from_pretrained(self.folder, **_LOCAL)
        read = tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="np")
        return np.asarray(read["input_ids"], np.int32)

    def forward(self, pixels: Any, ids: np.ndarray | None) -> dict[str, np.ndarray]:
        """Embeddings of unit norm, logits where there are both towers, and all hidden states."""
        given: dict[str, Any] = {} if pixels is None else _images(pixels)
        if ids is not None:
            given["input_ids"] = torch.tensor(np.asarray(ids, np.int64))
            if self.kind in _MASKED:
                padding = self.model.config.to_dict()
                texts = "qformer_config" if self.kind == "blip-2" else "text_config"
                padding = padding.get(texts, padding)["pad_token_id"]
                given["attention_mask"] = (given["input_ids"] != padding).long()
        with torch.inference_mode():
            if self.kind in _FUSED:
                return {k: v.numpy() for k, v in _FUSED[self.kind](self.model, **given).items()}
            read = self.model(**given, output_hidden_states=True)
        if pixels is not None and ids is not None:
            found = {
                "image_embeds": read.image_embeds,
                "text_embeds": read.text_embeds,
                "logits": read.logits_per_image,
                **_states("image", read.vision_model_output),
                **_states("text", read.text_model_output),
            }
        else:
            found = _single("image" if ids is None else "text", read)
        return {name: tensor.numpy() for name, tensor in found.items()}


_LOCAL: dict[str, Any] = dict(local_files_only=True, trust_remote_code=False)
_POOLED = ("vit", "bert")
_MASKED = ("bert", "blip", "blip-2", "vision-text-dual-encoder")


def _images(pixels: Any) -> dict[str, torch.Tensor]:
    if not isinstance(pixels, NaflexImages):
        return {"pixel_values": torch.tensor(np.array(pixels, np.float32))}
    return {
        "pixel_values": torch.tensor(np.array(pixels.patches, np.float32)),
        "pixel_attention_mask": torch.tensor(np.array(pixels.mask)).int(),
        "spatial_shapes": torch.tensor(np.array(pixels.grid)).long(),
    }


def _blip(
    model: Any, pixel_values: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> dict[str, torch.Tensor]:
    """What a BLIP says of pairs, the first token of each text as it was trained."""
    text, unit = model.config.text_config, torch.nn.functional.normalize
    first = input_ids.clone()
    if not hasattr(model, "itm_head"):
        first[:, 0] = text.bos_token_id
        return {"caption_logits": model(pixel_values, first, attention_mask).logits}
    first[:, 0] = text.vocab_size - 1
    tokens = model.vision_model(pixel_values).last_hidden_state
    caption = model.text_encoder(input_ids, attention_mask).last_hidden_state
    zimg, ztxt = unit(model.vision_proj(tokens[:, 0])), unit(model.text_proj(caption[:, 0]))
    return {
        "image_embeds": zimg,
        "text_embeds": ztxt,
        "logits": zimg @ ztxt.T * math.exp(model.config.logit_scale_init_value),
        "match": model(first, pixel_values, True, attention_mask).itm_score,
    }


def _blip2(model: Any, **given: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a BLIP-2 says of pairs."""
    read = model(**given)
    return {
        "image_embeds": read.image_embeds,
        "text_embeds": read.text_embeds,
        "logits": read.logits_per_image * math.exp(model.config.logit_scale_init_value),
        "match": model(**given, use_image_text_matching_head=True).logits_per_image,
    }


_FUSED: dict[str, Callable[..., dict[str, torch.Tensor]]] = {"blip": _blip, "blip-2": _blip2}


def _single(tower: str, read: Any) -> dict[str, torch.Tensor]:
    """The outputs of one tower alone, whatever its class calls them."""
    pooled = getattr(read, f"{tower}_embeds", None)
    pooled = read.pooler_output if pooled is None else pooled
    pooled = read.last_hidden_state[:, 0] if pooled is None else pooled
    return {f"{tower}_embeds": torch.nn.functional.normalize(pooled), **_states(tower, read)}


def _states(tower: str, read: Any) -> dict[str, torch.Tensor]:
    return {f"{tower}_hidden_states": torch.stack(read.hidden_states)}
