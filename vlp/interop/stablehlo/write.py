"""Encoders as StableHLO, for programs that have JAX and nothing of ours.

  image_encoder.stablehlo   (weights, bytes uint8 [batch, S, S, 3]) -> embeddings [batch, D], tokens
  text_encoder.stablehlo    (weights, ids int32 [batch, sequence]) -> embeddings [batch, D], tokens
  *_encoder.npz             the weights, float32, by name

Each is what `jax.export` serialises, lowered for CPU, CUDA and TPU, for any batch. Images go
in as bytes, already at the model's size: the normalisation is inside. Embeddings have unit norm.
JAX promises to read such files for at least six months of releases.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vlp.files import write_bytes, write_text
from vlp.interop import readme
from vlp.interop.encoders import EncodersReader, write_encoders
from vlp.interop.hf.write import cleaning
from vlp.interop.loaded import Run
from vlp.interop.portable import (
    check_portable,
    ids_of_any_shape,
    images_of_any_number,
    portable_model,
    tower_function,
)
from vlp.models.base import Model

__all__ = ["cleaning", "reader", "write"]

PLATFORMS = ("cpu", "cuda", "tpu")

USAGE = """

def load(name):
    with open(f"{name}.stablehlo", "rb") as file:
        exported = jax.export.deserialize(bytearray(file.read()))
    with np.load(f"{name}.npz", allow_pickle=False) as file:
        weights = jax.device_put(dict(file))
    encode = jax.jit(exported.call)
    return lambda batch: encode(weights, batch)

"""
USAGE_IMAGE = """
images = np.asarray(picture)[None]
image_embeds, image_tokens = load("image_encoder")(images)
"""
USAGE_TEXT = """
text_embeds, text_tokens = load("text_encoder")(ids)
"""
NOTES = (
    "Images are bytes: the normalisation is part of the encoder. Embeddings have unit norm.",
    "The batch may have any size; each new size is compiled once.",
    "The files run on CPUs, CUDA GPUs and TPUs, with the precision that JAX has there by default.",
)


def write(
    run: Run, folder: Path, *, towers: str = "both", metrics: Mapping[str, float] | None = None
) -> None:
    """Writes everything but the parity report.

    Args:
        run: whose model and tokenizer to write.
        folder: an empty folder.
        towers: "both", "image" or "text".
        metrics: figures for the README, by name.

    Raises:
        ValueError: the image tower takes no plain images.
    """
    model = portable_model(run, target="StableHLO", towers=towers)
    usage = readme.imports("jax", "jax.export", towers=towers) + USAGE
    if towers != "text":
        _write_tower(model, "image", images_of_any_number(model), folder)
        usage += "\n" + readme.picture(run) + USAGE_IMAGE.lstrip()
    if towers != "image":
        _write_tower(model, "text", ids_of_any_shape(model), folder)
        usage += "\n" + readme.ids(run, dtype="int32") + USAGE_TEXT.lstrip()
    write_encoders(run, folder, towers=towers)
    usage += readme.shown(towers)
    title = "StableHLO encoders"
    text = readme.portable_readme(run, title=title, usage=usage, notes=NOTES, metrics=metrics or {})
    write_text(folder / "README.md", text)


def check_model(kwargs: Mapping[str, Any], *, towers: str = "both", **settings: Any) -> None:
    """Raises ValueError where StableHLO cannot run a model of these arguments.

    Args:
        kwargs: keyword arguments of the model.
        towers, **settings: as in `write`.
    """
    check_portable(kwargs, target="StableHLO", towers=towers)


def reader(folder: Path) -> EncodersReader:
    """The folder, opened by `jax.export`."""
    return StableHloReader(folder)


class StableHloReader(EncodersReader):
    """The towers of a folder, as its README calls them."""

    name = "jax.export"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._encoders = {
            tower: _load(self.folder / f"{tower}_encoder")
            for tower in ("image", "text")
            if tower in self.card
        }

    @property
    def versions(self) -> dict[str, str]:
        """Of the libraries that take part."""
        return {"jax": jax.__version__}

    def embed_images(self, images: np.ndarray) -> np.ndarray:
        """Unit-norm embeddings of bytes."""
        return np.asarray(self._encoders["image"](images)[0])

    def embed_ids(self, ids: np.ndarray) -> np.ndarray:
        """Unit-norm embeddings of token ids."""
        return np.asarray(self._encoders["text"](ids)[0])


def _write_tower(model: Model, tower: str, batch: jax.ShapeDtypeStruct, folder: Path) -> None:
    function, params = tower_function(model, tower)
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in params.items()}
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(shapes, batch)
    write_bytes(folder / f"{tower}_encoder.stablehlo", exported.serialize())
    weights: dict[str, Any] = dict(params)
    np.savez(folder / f"{tower}_encoder.npz", **weights)


def _load(path: Path) -> Callable[[np.ndarray], tuple[jax.Array, jax.Array]]:
    exported = jax.export.deserialize(bytearray(path.with_suffix(".stablehlo").read_bytes()))
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        # On the CPU, where products are not rounded.
        weights = jax.device_put(dict(file), jax.local_devices(backend="cpu")[0])
    encode = jax.jit(exported.call)
    return lambda batch: encode(weights, batch)
