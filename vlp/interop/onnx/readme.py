"""The README of an ONNX folder."""

from collections.abc import Mapping, Sequence

from vlp.interop.load import Run
from vlp.interop.readme import portable_readme

_IMAGE = """
import numpy as np
import onnxruntime
image_model = onnxruntime.InferenceSession("onnx/{file}")
pixels = np.zeros((2, 3, {size}, {size}), np.float32)  # as preprocessor_config.json says
image_embeds = image_model.run(["image_embeds"], {{"pixel_values": pixels}})[0]
"""
_TEXT = """
import numpy as np
import onnxruntime
import tokenizers
text_model = onnxruntime.InferenceSession("onnx/{file}")
rows = tokenizers.Tokenizer.from_file("tokenizer.json").encode_batch(["a cat", "a red heart"])
ids = np.asarray([row.ids for row in rows], np.int64)
text_embeds = text_model.run(["text_embeds"], {{"input_ids": ids}})[0]
"""
_NOTES = (
    "Embeddings have unit norm: a dot product is a cosine. `last_hidden_state` holds the tokens.",
    "The batch may have any size. Texts may be padded to any length; no attention mask is needed.",
    "transformers.js and optimum open this folder, FastEmbed takes `onnx/*.onnx` as `model_file`.",
)


def readme(run: Run, *, files: Sequence[str], metrics: Mapping[str, float]) -> str:
    """How to use the files with onnxruntime alone."""
    image = next((name for name in files if name.startswith("vision")), None)
    text = next((name for name in files if name.startswith("text")), None)
    usage = _IMAGE.format(file=image, size=run.model.image.image_size) if image else ""
    usage += _TEXT.format(file=text) if text else ""
    return portable_readme(run, title="ONNX encoders", usage=usage, notes=_NOTES, metrics=metrics)
