"""An exported ONNX folder, opened the way its consumers do: onnxruntime and tokenizers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tokenizers
from jaxtyping import Float, Int
from PIL import Image

from vlp.interop.hf import plain

TOLERANCES = {"": {}, "_fp16": {"least_cosine": 0.9999}, "_quantized": {"least_cosine": 0.97}}


class OnnxReader:
    """The sessions of a folder's files, its processor's settings and its tokenizer.

    Args:
        folder: what `vlp export --to=onnx` writes.
    """

    name = "onnxruntime"
    plain = True

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        files = {path.stem: path for path in sorted((self.folder / "onnx").glob("*.onnx"))}
        self.image, self.text = (_open(files, tower) for tower in ("vision_model", "text_model"))
        variant = next(iter(files)).removeprefix("vision_model").removeprefix("text_model")
        self.tolerance: dict[str, float] = TOLERANCES[variant]

    @property
    def versions(self) -> dict[str, str]:
        """Of the libraries that take part."""
        return {
            "onnxruntime": onnxruntime.__version__,
            "tokenizers": tokenizers.__version__,
        }

    def pixels(self, images: Sequence[Image.Image]) -> Float[np.ndarray, "n 3 h w"] | None:
        """Normalised pixels, by the settings in preprocessor_config.json."""
        return plain.pixels(self.folder, images)

    def ids(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"] | None:
        """Token ids, padded as tokenizer.json says."""
        return plain.ids(self.folder, texts)

    def forward(self, pixels: np.ndarray | None, ids: np.ndarray | None) -> dict[str, np.ndarray]:
        """Unit-norm embeddings of what is given."""
        found = {}
        if pixels is not None and self.image is not None:
            inputs = {"pixel_values": np.asarray(pixels, np.float32)}
            found["image_embeds"] = self.image.run(["image_embeds"], inputs)[0]
        if ids is not None and self.text is not None:
            inputs = {"input_ids": np.asarray(ids, np.int64)}
            found["text_embeds"] = self.text.run(["text_embeds"], inputs)[0]
        return found


def _open(files: dict[str, Path], tower: str) -> Any:
    path = next((path for name, path in files.items() if name.startswith(tower)), None)
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(path), providers=providers) if path else None
