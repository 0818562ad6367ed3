"""An exported ONNX folder, opened the way its consumers do: onnxruntime and tokenizers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tokenizers
from jaxtyping import Float, Int
from PIL import Image

TOLERANCES = {"": {}, "_fp16": {"least_cosine": 0.9999}, "_quantized": {"least_cosine": 0.97}}


class OnnxReader:
    """The sessions of a folder's files, its processor's settings and its tokenizer.

    Args:
        folder: what `vlp export --to=onnx` writes.
    """

    name = "onnxruntime"

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
        path = self.folder / "preprocessor_config.json"
        return _pixels(json.loads(path.read_text("utf-8")), images) if path.exists() else None

    def ids(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"] | None:
        """Token ids, padded as tokenizer.json says."""
        path = self.folder / "tokenizer.json"
        if not path.exists():
            return None
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        settings = json.loads((self.folder / "tokenizer_config.json").read_text("utf-8"))
        tokenizer.encode_special_tokens = settings.get("split_special_tokens", False)
        return np.asarray([row.ids for row in tokenizer.encode_batch(list(texts))], np.int64)

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


def _pixels(config: dict[str, Any], images: Sequence[Image.Image]) -> np.ndarray:
    mean, std = (np.asarray(config[key], np.float32) for key in ("image_mean", "image_std"))
    rows = [np.asarray(_fit(image.convert("RGB"), config)) for image in images]
    scaled = np.stack(rows).astype(np.float32) * np.float32(config["rescale_factor"])
    return ((scaled - mean) / std).transpose(0, 3, 1, 2)


def _fit(image: Image.Image, config: dict[str, Any]) -> Image.Image:
    """The picture at the model's size: squashed to it, or the middle once the short side fits."""
    size, resample = config["size"], Image.Resampling(config["resample"])
    if "shortest_edge" not in size:
        return image.resize((size["width"], size["height"]), resample)
    short = size["shortest_edge"]
    width, height = (int(short * side / min(image.size)) for side in image.size)
    image = image.resize((width, height), resample)
    crop = config["crop_size"]
    left, top = (width - crop["width"]) // 2, (height - crop["height"]) // 2
    return image.crop((left, top, left + crop["width"], top + crop["height"]))
