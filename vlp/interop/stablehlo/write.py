"""Encoders as StableHLO, for programs that have JAX and nothing of ours.

  image_encoder.stablehlo   (weights, bytes uint8 [batch, S, S, 3]) -> embeddings [batch, D], tokens
  text_encoder.stablehlo    (weights, ids int32 [batch, sequence]) -> embeddings [batch, D], tokens
  *_encoder.npz             the weights, float32, by name

Each is what `jax.export` serialises, lowered for CPU, CUDA and TPU, for any batch. Images go
in as bytes, already at the model's size: the normalisation is inside. Embeddings have unit norm.
JAX promises to read such files for at least six months of releases.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vlp.files import write_bytes
from vlp.interop import readme
from vlp.interop.encoders import EncodersReader, write_encoders
from vlp.interop.hf.write import cleaning
from vlp.interop.loaded import Run
from vlp.interop.portable import NAMES, check_portable, exported_tower, portable_model

__all__ = ["cleaning", "check_model", "reader", "write"]

_USAGE = """

def load(name):
    with open(f"{name}.stablehlo", "rb") as file:
        exported = jax.export.deserialize(bytearray(file.read()))
    with np.load(f"{name}.npz", allow_pickle=False) as file:
        weights = jax.device_put(dict(file))
    encode = jax.jit(exported.call)
    return lambda batch: encode(weights, batch)

"""
_IMAGE = """\
images = np.asarray(picture)[None]
image_embeds, image_tokens = load("image_encoder")(images)
"""
_TEXT = """\
text_embeds, text_tokens = load("text_encoder")(ids)
"""
_NOTES = (
    "The batch may have any size; each new size is compiled once.",
    "The files run on CPUs, CUDA GPUs and TPUs, with the precision that JAX has there by default.",
)
check_model = partial(check_portable, target="StableHLO")


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
    for tower in NAMES[towers]:
        exported, params = exported_tower(model, tower)
        write_bytes(folder / f"{tower}_encoder.stablehlo", exported.serialize())
        weights: dict[str, Any] = dict(params)
        np.savez(folder / f"{tower}_encoder.npz", **weights)
    code = dict(load=_USAGE, image=_IMAGE, text=_TEXT)
    usage = readme.usage(run, "jax", "jax.export", towers=towers, dtype="int32", **code)
    texts: dict[str, Any] = dict(title="StableHLO encoders", usage=usage, notes=_NOTES)
    write_encoders(run, folder, towers=towers, metrics=metrics, **texts)


def reader(folder: Path) -> EncodersReader:
    """The folder, opened by `jax.export`."""
    return StableHloReader(folder)


class StableHloReader(EncodersReader):
    """The towers of a folder, as its README calls them."""

    name = "jax.export"
    versions = {"jax": jax.__version__}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        towers = [tower for tower in NAMES["both"] if tower in self.card]
        self._encoders = {tower: _load(self.folder / f"{tower}_encoder") for tower in towers}

    def embed(self, tower: str, batch: np.ndarray) -> np.ndarray:
        """Unit-norm embeddings of bytes or ids."""
        return np.asarray(self._encoders[tower](batch)[0])


def _load(path: Path) -> Callable[[np.ndarray], tuple[jax.Array, jax.Array]]:
    exported = jax.export.deserialize(bytearray(path.with_suffix(".stablehlo").read_bytes()))
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        # On the CPU, where products are not rounded.
        weights = jax.device_put(dict(file), jax.local_devices(backend="cpu")[0])
    encode = jax.jit(exported.call)
    return lambda batch: encode(weights, batch)
