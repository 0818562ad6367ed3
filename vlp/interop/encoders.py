"""What lies beside a tower that takes bytes and ids: sizes, preprocessing, scale, tokenizer."""

import abc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

from vlp.files import write_json
from vlp.interop.adapt import adapt, complete, only_tower
from vlp.interop.hf import plain
from vlp.interop.hf.write import architecture, write_processors
from vlp.interop.loaded import Run, params_of

FILE = "encoders.json"


def write_encoders(run: Run, folder: Path, *, towers: str) -> None:
    """Writes encoders.json and the tokenizer's files.

    Args:
        run: what is exported.
        folder: where to.
        towers: "both", "image" or "text".
    """
    model = run.model
    card: dict[str, Any] = {"towers": towers, "embed_dim": model.kwargs["embed_dim"]}
    if towers != "text":
        card["image"] = {
            "size": model.image.image_size,
            "preprocess": None if run.preprocess is None else run.preprocess.to_dict(),
            # Applied inside; here for who has normalised pixels only.
            "mean": list(model.image_mean),
            "std": list(model.image_std),
        }
    if towers != "image":
        card["text"] = {"length": model.text.length, "pad_id": model.text.pad_id}
        if run.tokenizer is not None:
            config = transformers_config(run, towers="text")
            write_processors(run, folder, config=config, towers="text")
    if towers == "both":
        bias = 0.0 if model.bias is None else float(model.bias[...])
        card["logits"] = {"scale": float(jnp.exp(model.log_scale[...])), "bias": bias}
    write_json(folder / FILE, card)


def transformers_config(run: Run, *, towers: str) -> dict[str, Any]:
    """The config.json of the class that transformers has for the model, or the little that is true
    of any model: who reads files for other stacks wants its type, and no more."""
    kwargs, params = only_tower(complete(run.model.kwargs), params_of(run.model), towers=towers)
    module = architecture(kwargs)
    try:
        kwargs, _ = adapt(kwargs, params, accepted=module.accepted(kwargs), stack=module.NAME)
    except ValueError:
        return {"model_type": "clip", "projection_dim": kwargs["embed_dim"]}
    return module.config(kwargs)


class EncodersReader(abc.ABC):
    """A folder of towers that take bytes and ids; a stack adds how it calls them.

    Args:
        folder: what an export wrote.
    """

    tolerance: dict[str, float] = {}
    plain = True

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.card = json.loads((self.folder / FILE).read_text(encoding="utf-8"))

    @abc.abstractmethod
    def embed_images(self, images: np.ndarray) -> np.ndarray:
        """Unit-norm embeddings of bytes `[n, S, S, 3]`."""

    @abc.abstractmethod
    def embed_ids(self, ids: np.ndarray) -> np.ndarray:
        """Unit-norm embeddings of token ids int32 `[n, l]`."""

    def pixels(self, images: Sequence[Image.Image]) -> None:
        """None: the files bring no preprocessing, images go in at the model's size."""
        return None

    def ids(self, texts: Sequence[str]) -> np.ndarray | None:
        """Token ids, padded as tokenizer.json says."""
        return plain.ids(self.folder, texts)

    def forward(self, pixels: np.ndarray | None, ids: np.ndarray | None) -> dict[str, np.ndarray]:
        """Embeddings of what is given, and logits of both."""
        found = {}
        if pixels is not None and "image" in self.card:
            found["image_embeds"] = np.asarray(self.embed_images(self._bytes(pixels)))
        if ids is not None and "text" in self.card:
            found["text_embeds"] = np.asarray(self.embed_ids(np.asarray(ids, np.int32)))
        if len(found) == 2:
            cosines = found["image_embeds"] @ found["text_embeds"].T
            logits = self.card["logits"]
            found["logits"] = cosines * np.float32(logits["scale"]) + np.float32(logits["bias"])
        return found

    def _bytes(self, pixels: np.ndarray) -> np.ndarray:
        """The bytes `[n, h, w, 3]` that became these normalised pixels `[n, 3, h, w]`."""
        mean, std = (np.asarray(self.card["image"][key]) for key in ("mean", "std"))
        scaled = (np.asarray(pixels).transpose(0, 2, 3, 1) * std + mean) * 255
        return np.round(scaled).astype(np.uint8)
