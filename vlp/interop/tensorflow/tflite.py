"""Encoders as TFLite (LiteRT) files, for phones and small devices.

  image_encoder.tflite   images uint8 [B, S, S, 3] -> image_embeds [B, D], image_tokens
  text_encoder.tflite    ids int32 [B, L] -> text_embeds [B, D], text_tokens

The batch is fixed, one unless set otherwise: with an open one the converter has been seen to write
files that run at other sizes and give other numbers. Texts are as long as in training. Images go in
as bytes, already at the model's size: the normalisation is inside. Embeddings have unit norm.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlp.files import write_bytes, write_text
from vlp.interop import readme
from vlp.interop.encoders import EncodersReader, write_encoders
from vlp.interop.hf.write import cleaning
from vlp.interop.loaded import Run
from vlp.interop.portable import check_portable, portable_model

__all__ = ["cleaning", "reader", "write"]

NEEDS = {"tensorflow": "tf"}  # a package, and the extra that has it
USAGE = """

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
USAGE_IMAGE = """
image_embeds = load("image", "images")(np.asarray(picture)[None])
"""
USAGE_TEXT = """
text_embeds = load("text", "ids")(ids)
"""
NOTES = (
    "Images are bytes: the normalisation is part of the encoder. Embeddings have unit norm.",
    "The batch is fixed at {batch}: fill the rest with zeros and drop it. Do not resize the input: "
    "interpreters accept that and give other numbers.",
)


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
    names = ("image", "text") if towers == "both" else (towers,)
    from vlp.interop.tensorflow.convert import tflite

    usage = readme.imports("tensorflow as tf", towers=towers) + USAGE.format(batch=batch_size)
    for name in names:
        content = tflite(model, name, batch=batch_size)
        write_bytes(folder / f"{name}_encoder.tflite", content)
    if "image" in names:
        usage += "\n" + readme.picture(run) + USAGE_IMAGE.lstrip()
    if "text" in names:
        usage += "\n" + readme.ids(run, dtype="int32") + USAGE_TEXT.lstrip()
    write_encoders(run, folder, towers=towers)
    notes = [note.format(batch=batch_size) for note in NOTES]
    usage += readme.shown(towers)
    title = "TFLite encoders"
    text = readme.portable_readme(run, title=title, usage=usage, notes=notes, metrics=metrics or {})
    write_text(folder / "README.md", text)


def check_settings(*, batch_size: Any = 1) -> None:
    """Raises ValueError for a batch that is no number of rows."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"batch_size must be a number, at least 1, got {batch_size!r}: TFLite files with an "
            "open batch give wrong numbers; export once for each size that is needed"
        )


def check_model(kwargs: Mapping[str, Any], *, towers: str = "both", **settings: Any) -> None:
    """Raises ValueError where TFLite cannot run a model of these arguments.

    Args:
        kwargs: keyword arguments of the model.
        towers, **settings: as in `write`.
    """
    check_portable(kwargs, target="TFLite", towers=towers)


def reader(folder: Path) -> EncodersReader:
    """The folder, opened by TensorFlow's interpreter.

    Raises:
        ImportError: TensorFlow is not here.
    """
    import tensorflow as tf

    class TfliteReader(EncodersReader):
        """The interpreters of a folder's files; batches are cut and filled to the fixed size."""

        name = "tensorflow lite"

        @property
        def versions(self) -> dict[str, str]:
            """Of the libraries that take part."""
            return {"tensorflow": tf.__version__}

        def embed_images(self, images: np.ndarray) -> np.ndarray:
            """Unit-norm embeddings of bytes."""
            return self._run("image", images=images)

        def embed_ids(self, ids: np.ndarray) -> np.ndarray:
            """Unit-norm embeddings of token ids."""
            return self._run("text", ids=ids)

        def _run(self, tower: str, **inputs: np.ndarray) -> np.ndarray:
            interpreter = tf.lite.Interpreter(str(self.folder / f"{tower}_encoder.tflite"))
            encode = interpreter.get_signature_runner(f"encode_{tower}")
            ((name, rows),) = inputs.items()
            size = encode.get_input_details()[name]["shape"][0]
            padding = np.zeros((-len(rows) % size, *rows.shape[1:]), rows.dtype)
            chunks = np.split(np.concatenate([rows, padding]), (len(rows) + len(padding)) // size)
            found = [encode(**{name: chunk})[f"{tower}_embeds"] for chunk in chunks]
            return np.concatenate(found)[: len(rows)]

    return TfliteReader(folder)
