"""An exported ONNX folder, opened the way its consumers do: onnxruntime and tokenizers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tokenizers

from vlp.interop.hf.plain import PlainReader

NAMES = ("vision_model", "text_model", "model")
# A cosine of two vectors moves by up to twice the sine of the angle by which each may be off.
TOLERANCES: dict[str, dict[str, float]] = {
    "": {},
    "_fp16": {"least_cosine": 0.9999, "most_relative_error": 0.03},
    "_quantized": {"least_cosine": 0.97, "most_relative_error": 0.5},
}


class OnnxReader(PlainReader):
    """The sessions of a folder's files, its processor's settings and its tokenizer.

    Args:
        folder: what `vlp export --to=onnx` writes.

    Raises:
        ValueError: a file is not what ONNX's own checker takes for a valid model.
    """

    name = "onnxruntime"
    versions = {
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "tokenizers": tokenizers.__version__,
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        files = {path.stem: path for path in sorted((self.folder / "onnx").glob("*.onnx"))}
        for path in files.values():
            _check(path)
        self.image, self.text, self.joint = (_open(files, name) for name in NAMES)
        variant = next(iter(files)).rpartition("model")[-1]
        self.tolerance = TOLERANCES[variant]

    def forward(self, pixels: np.ndarray | None, ids: np.ndarray | None) -> dict[str, np.ndarray]:
        """Unit-norm embeddings of what is given; of both towers in one file also logits."""
        found, given = {}, {}
        if pixels is not None:
            given["pixel_values"] = np.asarray(pixels, np.float32)
        if ids is not None:
            given["input_ids"] = np.asarray(ids, np.int64)
            given["attention_mask"] = np.ones_like(given["input_ids"])
        if self.image is not None:
            found["image_embeds"] = _run(self.image, ["image_embeds"], given)[0]
        if self.text is not None:
            found["text_embeds"] = _run(self.text, ["text_embeds"], given)[0]
        if self.joint is not None:
            names = ["logits_per_image", "image_embeds", "text_embeds"]
            both = zip(("logits", *names[1:]), _run(self.joint, names, given), strict=True)
            found |= {f"joint/{name}": value for name, value in both}
        return found


def _check(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)  # by its path: it may be over 2 GB
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(
            f"{path.name} must be a valid ONNX model, but {str(error).splitlines()[0]}; "
            "nothing was written. Please report this"
        ) from error


def _run(session: Any, outputs: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
    names = {value.name for value in session.get_inputs()}
    return session.run(outputs, {name: x for name, x in given.items() if name in names})


def _open(files: dict[str, Path], start: str) -> Any:
    path = next((path for name, path in files.items() if name.startswith(start)), None)
    if path is None:
        return None
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3  # errors: what it cannot fold beforehand is none
    return onnxruntime.InferenceSession(str(path), quiet, providers=["CPUExecutionProvider"])
