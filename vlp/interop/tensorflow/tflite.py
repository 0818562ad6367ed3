"""Encoders as TFLite (LiteRT) files, for phones and small devices.

  image_encoder.tflite   images uint8 [B, S, S, 3] -> image_embeds [B, D], image_tokens
  text_encoder.tflite    ids int32 [B, L] -> text_embeds [B, D], text_tokens

The batch is fixed, one unless set otherwise: with an open one the converter has been seen to write
files that run at other sizes and give other numbers. Texts are as long as in training. Images go in
as bytes, already at the model's size: the normalisation is inside. Embeddings have unit norm.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vlp.files import write_bytes
from vlp.interop import readme
from vlp.interop.encoders import EncodersReader, write_encoders
from vlp.interop.hf.write import cleaning
from vlp.interop.loaded import Run
from vlp.interop.portable import NAMES, check_portable, portable_model

__all__ = ["check_model", "cleaning", "reader", "write"]

NEEDS = {"tensorflow": "tf"}  # a package, and the extra that has it
_USAGE = """

def load(tower, given, size={batch}):
    # tf.lite.Interpreter, or the same of ai_edge_litert.interpreter
    interpreter = tf.lite.Interpreter(f"{{tower}}_encoder.tflite")
    encode = interpreter.get_signature_runner(f"encode_{{tower}}")

    def embed(rows):  # a call takes so many rows, always
        filled = np.resize(rows, (-(-len(rows) // size) * size, *rows.shape[1:]))
        calls = [encode(**{{given: filled[i : i + size]}}) for i in range(0, len(filled), size)]
        return np.concatenate([found[f"{{tower}}_embeds"] for found in calls])[: len(rows)]

    return embed

"""
_IMAGE = """\
image_embeds = load("image", "images")(np.asarray(picture)[None])
"""
_TEXT = """\
text_embeds = load("text", "ids")(ids)
"""
_NOTES = (
    "The batch is fixed at {batch}: fill the rest with zeros and drop it. Do not resize the input: "
    "interpreters accept that and give other numbers.",
)
check_model = partial(check_portable, target="TFLite")


def write(
    run: Run,
    folder: Path,
    *,
    towers: str = "both",
    metrics: Mapping[str, float] | None = None,
    batch_size: int = 1,
) -> None:
    """Writes everything but the parity report.

    Args:
        run: whose model and tokenizer to write.
        folder: an empty folder.
        towers: "both", "image" or "text".
        metrics: figures for the README, by name.
        batch_size: how many inputs a call takes, always.

    Raises:
        ValueError: the batch is open, or the image tower takes no plain images.
    """
    check_settings(batch_size=batch_size)
    model = portable_model(run, target="TFLite", towers=towers)
    from vlp.interop.tensorflow.graph import tflite

    for name in NAMES[towers]:
        content = tflite(model, name, batch=batch_size)
        write_bytes(folder / f"{name}_encoder.tflite", content)
    code = dict(load=_USAGE.format(batch=batch_size), image=_IMAGE, text=_TEXT)
    usage = readme.usage(run, "tensorflow as tf", towers=towers, dtype="int32", **code)
    notes = [note.format(batch=batch_size) for note in _NOTES]
    texts: dict[str, Any] = dict(title="TFLite encoders", usage=usage, notes=notes)
    write_encoders(run, folder, towers=towers, metrics=metrics, **texts)


def check_settings(*, batch_size: Any = 1) -> None:
    """Raises ValueError for a batch that is no number of rows."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"batch_size must be a number, at least 1, got {batch_size!r}: TFLite files with an "
            "open batch give wrong numbers; export once for each size that is needed"
        )


def reader(folder: Path) -> EncodersReader:
    """The folder, opened by TensorFlow's interpreter.

    Raises:
        ImportError: TensorFlow is not here.
    """
    import tensorflow as tf

    from vlp.interop.tensorflow.graph import INPUTS

    class TfliteReader(EncodersReader):
        """The interpreters of a folder's files; batches are cut and filled to the fixed size."""

        name = "tensorflow lite"
        versions = {"tensorflow": tf.__version__}

        def embed(self, tower: str, batch: np.ndarray) -> np.ndarray:
            """Unit-norm embeddings of bytes or ids."""
            interpreter = tf.lite.Interpreter(str(self.folder / f"{tower}_encoder.tflite"))
            encode = interpreter.get_signature_runner(f"encode_{tower}")
            size = encode.get_input_details()[INPUTS[tower]]["shape"][0]
            padding = np.zeros((-len(batch) % size, *batch.shape[1:]), batch.dtype)
            filled = np.concatenate([batch, padding])
            chunks = np.split(filled, len(filled) // size)
            found = [encode(**{INPUTS[tower]: chunk})[f"{tower}_embeds"] for chunk in chunks]
            return np.concatenate(found)[: len(batch)]

    return TfliteReader(folder)
