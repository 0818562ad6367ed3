"""What lies beside a tower that takes bytes and ids: sizes, preprocessing, scale, tokenizer."""

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from vlp.files import write_json
from vlp.interop.adapt import adapt, complete, only_tower
from vlp.interop.hf.plain import PlainReader
from vlp.interop.hf.write import architecture, write_processors
from vlp.interop.loaded import Run, params_of
from vlp.interop.readme import write_readme
from vlp.interop.weights import read_json_object

FILE = "encoders.json"
_BYTES = "Images are bytes: the normalisation is part of the encoder. Embeddings have unit norm."


def write_encoders(
    run: Run,
    folder: Path,
    *,
    towers: str,
    title: str,
    usage: str,
    notes: Sequence[str],
    metrics: Mapping[str, float] | None,
) -> None:
    """Writes encoders.json, the tokenizer's files and the README.

    Args:
        run: what is exported.
        folder: where to.
        towers: "both", "image" or "text".
        title, usage, notes, metrics: of the README, see `vlp.interop.readme.write_readme`.
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
    notes = [_BYTES, *notes]
    write_readme(run, folder, title=title, usage=usage, notes=notes, metrics=metrics)


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


class EncodersReader(PlainReader):
    """A folder of towers that take bytes and ids; a stack adds how it calls them.

    Args:
        folder: what an export wrote.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.card = read_json_object(self.folder / FILE)

    @abc.abstractmethod
    def embed(self, tower: str, batch: np.ndarray) -> np.ndarray:
        """Unit-norm embeddings of bytes `[n, S, S, 3]`, or of token ids int32 `[n, l]`."""

    def forward(self, pixels: np.ndarray | None, ids: np.ndarray | None) -> dict[str, np.ndarray]:
        """Embeddings of what is given, and logits of both."""
        found = {}
        if pixels is not None and "image" in self.card:
            found["image_embeds"] = self.embed("image", self._bytes(pixels))
        if ids is not None and "text" in self.card:
            found["text_embeds"] = self.embed("text", np.asarray(ids, np.int32))
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
