"""An exported folder, read by open_clip itself. Needs PyTorch."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from jaxtyping import Float, Int
from PIL import Image

from vlp.interop.open_clip.processing import OURS
from vlp.interop.open_clip.read import CONFIG
from vlp.interop.parity import Reader
from vlp.interop.torch_states import hidden_states
from vlp.interop.weights import read_json_object


class OpenClipReader(Reader):
    """An exported folder behind open_clip's own model, transform and tokenizer.

    Args:
        folder: what `vlp export --to=open_clip` writes.
    """

    name = "open_clip"
    versions = {"torch": str(torch.__version__), "open_clip": open_clip.__version__}

    def __init__(self, folder: str | os.PathLike) -> None:
        name = f"local-dir:{os.fspath(folder)}"
        self.model, self.transform = open_clip.create_model_from_pretrained(name)
        self.model.eval()
        sections = read_json_object(Path(folder) / CONFIG)
        self.tokenizer = self._tokenizer(name, sections)

    def pixels(self, images: Sequence[Image.Image]) -> Float[np.ndarray, "n 3 h w"]:
        """Normalised pixels of pictures."""
        return np.stack([self.transform(image).numpy() for image in images])

    def ids(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"] | None:
        """Padded token ids of captions, repaired by open_clip only if the model's own are."""
        if self.tokenizer is None:
            return None
        return np.asarray(self.tokenizer(list(texts)), np.int32)

    def forward(
        self, pixels: Float[np.ndarray, "n 3 h w"], ids: Int[np.ndarray, "m l"]
    ) -> Mapping[str, np.ndarray]:
        """Unit-norm embeddings, logits, and the hidden states of transformers."""
        images = torch.from_numpy(np.array(pixels, np.float32))
        texts = torch.from_numpy(np.asarray(ids, np.int64))
        text = getattr(self.model, "text", self.model).transformer.resblocks
        found: dict[str, Any] = {}
        with torch.inference_mode():
            with hidden_states(text) as states:
                ztxt = self.model.encode_text(texts, normalize=True)
            found["text_hidden_states"] = states()
            zimg = self._encode_image(images, found)
            logits = self.model.logit_scale.exp() * zimg @ ztxt.T
            if self.model.logit_bias is not None:
                logits = logits + self.model.logit_bias
        found |= {"image_embeds": zimg.numpy(), "text_embeds": ztxt.numpy()}
        return found | {"logits": logits.numpy()}

    def _encode_image(self, images: torch.Tensor, found: dict[str, Any]) -> torch.Tensor:
        visual = self.model.visual
        blocks = visual.trunk.blocks if hasattr(visual, "trunk") else None
        if hasattr(visual, "transformer"):
            blocks = visual.transformer.resblocks
        if blocks is None:  # a ResNet
            return self.model.encode_image(images, normalize=True)
        with hidden_states(blocks) as states:
            zimg = self.model.encode_image(images, normalize=True)
        found["image_hidden_states"] = states()
        return zimg

    def _tokenizer(self, name: str, sections: Mapping[str, Any]) -> Any:
        text_cfg = sections["model_cfg"]["text_cfg"]
        if "tokenizer_kwargs" not in text_cfg:  # the export had none
            return None
        tokenizer = open_clip.get_tokenizer(name)
        if OURS not in sections:
            return tokenizer
        length = tokenizer.context_length
        return lambda texts: tokenizer.tokenizer(
            texts, max_length=length, padding="max_length", truncation=True
        )["input_ids"]
